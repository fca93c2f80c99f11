classdef FileStorage < handle
%FILESTORAGE  Writes to the ring file with fwrite, for tests in GNU Octave, which has no memmapfile.
%   Each write is flushed before the next: their order is what the relay relies on. See RING.md for why MATLAB uses
%   MapStorage instead.
    properties (SetAccess = private)
        found   % control words that were in the file
    end
    properties (Access = private)
        id = -1
        slot_bytes
        channel_bytes
        l
    end
    methods
        function obj = FileStorage(path, bytes)
            obj.l = deepbid.layout();
            obj.found = deepbid.open_ring_file(path, bytes);
            obj.id = fopen(path, 'r+', 'ieee-le');
        end
        function word(obj, k, value)
            obj.put(8 * k, value, 'uint64');
        end
        function block_lock(obj, k, value)
            obj.put(obj.l.blocks_at + k * obj.l.block_bytes, value, 'uint64');
        end
        function block(obj, k, facts)
            obj.put(obj.l.blocks_at + k * obj.l.block_bytes + 8, facts, 'double');
        end
        function set_slots(obj, shape, slot_bytes, count) %#ok<INUSD>
            obj.slot_bytes = slot_bytes;
            obj.channel_bytes = 2 * shape(1) * shape(2);
        end
        function lock(obj, slot, value)
            obj.put(obj.l.slots_at + slot * obj.slot_bytes, value, 'uint64');
        end
        function head(obj, slot, values)
            obj.put(obj.l.slots_at + slot * obj.slot_bytes + 8, values, 'double');
        end
        function pixels(obj, slot, channel, image)
            at = obj.l.slots_at + slot * obj.slot_bytes + obj.l.head_bytes + channel * obj.channel_bytes;
            obj.put(at, image, 'int16');
        end
        function close(obj)
            if obj.id >= 0
                fclose(obj.id);
                obj.id = -1;
            end
        end
    end
    methods (Access = private)
        function put(obj, at, values, type)
            fseek(obj.id, at, 'bof');
            if fwrite(obj.id, values, type) < numel(values)
                error('deepbid:file', 'The ring file cannot be written. Check the room on its disk.');
            end
            fflush(obj.id);
        end
    end
end
