classdef MapStorage < handle
%MAPSTORAGE  Writes to the ring file through memmapfile. Positions are counted from 0, as in RING.md.
%   Assignments go to elements of mapped fields in place. A copy of obj.slots.Data in a variable would make MATLAB copy
%   the mapped memory at the next assignment.
    properties (SetAccess = private)
        found   % control words that were in the file
    end
    properties (Access = private)
        path
        control
        blocks
        slots
    end
    methods
        function obj = MapStorage(path, bytes)
            l = deepbid.layout();
            obj.path = path;
            obj.found = deepbid.open_ring_file(path, bytes);
            obj.control = memmapfile(path, 'Writable', true, 'Format', 'uint64', 'Repeat', l.blocks_at / 8);
            obj.blocks = memmapfile(path, 'Writable', true, 'Offset', l.blocks_at, 'Repeat', l.blocks, ...
                'Format', {'uint64', [1 1], 'lock'; 'double', [1 l.block_bytes / 8 - 1], 'facts'});
        end
        function word(obj, k, value)
            obj.control.Data(k + 1) = uint64(value);
        end
        function block_lock(obj, k, value)
            obj.blocks.Data(k + 1).lock = uint64(value);
        end
        function block(obj, k, facts)
            obj.blocks.Data(k + 1).facts(1:numel(facts)) = facts;
        end
        function set_slots(obj, shape, slot_bytes, count)
            l = deepbid.layout();
            format = {'uint64', [1 1], 'lock'; 'double', [1 7], 'head'; 'int16', shape, 'pixels'};
            rest = slot_bytes - l.head_bytes - 2 * prod(shape);
            if rest > 0
                format = [format; {'uint8', [1 rest], 'rest'}];
            end
            obj.slots = memmapfile(obj.path, 'Writable', true, 'Offset', l.slots_at, 'Repeat', count, 'Format', format);
        end
        function lock(obj, slot, value)
            obj.slots.Data(slot + 1).lock = uint64(value);
        end
        function head(obj, slot, values)
            obj.slots.Data(slot + 1).head = values;
        end
        function pixels(obj, slot, channel, image)
            obj.slots.Data(slot + 1).pixels(:, :, channel + 1) = image;
        end
        function close(obj)
            obj.control = [];
            obj.blocks = [];
            obj.slots = [];
        end
    end
end
