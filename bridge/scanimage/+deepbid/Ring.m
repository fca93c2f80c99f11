classdef Ring < handle
%RING  Writes series of frames into the ring file, in the order that RING.md demands. One writer at a time.
    properties (SetAccess = private)
        series = 0          % number of the last series
        running = false     % whether it has not ended
    end
    properties (Access = private)
        storage
        bytes
        l
        shape = []          % pixels, lines, channels
        slots = 0
        generation = 0
        written = 0         % frames of this generation
        pulse = 0
        block               % facts of the last series
        block_lock = 0
    end
    methods
        function obj = Ring(storage, bytes)
        %RING  Go on with the numbers that the file has. STORAGE is a MapStorage or FileStorage of BYTES bytes.
            obj.storage = storage;
            obj.bytes = bytes;
            obj.l = deepbid.layout();
            found = double(storage.found);
            obj.generation = found(7) + mod(found(7), 2);  % odd: the writer before ended in the middle
            obj.series = found(9);
            obj.pulse = found(10);
        end
        function begin(obj, facts)
        %BEGIN  Begin a series. FACTS is a struct as deepbid.facts_of returns it.
            obj.finish('replaced');
            shape = [facts.pixels, facts.lines, facts.channels];
            if ~isequal(shape, obj.shape)
                obj.set_shape(shape);
            end
            obj.series = obj.series + 1;
            facts.series = obj.series;
            facts.state = 1;
            facts.first = obj.written;
            facts.last = NaN;
            obj.block = obj.as_block(facts);
            obj.write_block(1:obj.l.facts);
            obj.storage.word(8, obj.series);
            obj.running = true;
        end
        function put(obj, number, time_s, place, flags, acquisition, images)
        %PUT  Write a frame. IMAGES is a cell of one int16 matrix (pixels, lines) for each channel.
            slot = mod(obj.written, obj.slots);
            obj.storage.lock(slot, 2 * obj.written + 1);
            obj.storage.head(slot, double([obj.series, number, time_s, place, flags, acquisition, 0]));
            for channel = 1:numel(images)
                obj.storage.pixels(slot, channel - 1, images{channel});
            end
            obj.storage.lock(slot, 2 * obj.written + 2);
            obj.written = obj.written + 1;
            obj.storage.word(7, obj.written);
        end
        function finish(obj, reason)
        %FINISH  End the series, if one runs: 'done', 'aborted', 'error' or 'replaced'.
            if ~obj.running
                return
            end
            obj.running = false;
            obj.block([2 4]) = [find(strcmp(obj.l.states, reason)), obj.written];
            obj.write_block(1:4);
            obj.beat();
        end
        function beat(obj)
        %BEAT  Show that this program is alive, or that something has changed.
            obj.pulse = obj.pulse + 1;
            obj.storage.word(9, obj.pulse);
        end
        function close(obj)
        %CLOSE  End the series with 'aborted' and release the file.
            obj.finish('aborted');
            obj.storage.close();
        end
    end
    methods (Access = private)
        function set_shape(obj, shape)
            slot_bytes = 64 * ceil((obj.l.head_bytes + 2 * prod(shape)) / 64);
            slots = floor((obj.bytes - obj.l.slots_at) / slot_bytes);
            if slots < obj.l.least_slots
                error('deepbid:capacity', ...
                    ['A frame of %d x %d pixels and %d channels does not fit %d times into the ring file of ' ...
                     '%d MiB. Stop the relay, then call deepbid.connect(''megabytes'', %d).'], ...
                    shape(1), shape(2), shape(3), obj.l.least_slots, floor(obj.bytes / 2 ^ 20), ...
                    16 * ceil(32 * slot_bytes / 2 ^ 24));
            end
            obj.storage.word(6, obj.generation + 1);
            obj.storage.word(4, slot_bytes);
            obj.storage.word(5, slots);
            obj.storage.word(7, 0);
            obj.storage.set_slots(shape, slot_bytes, slots);
            obj.generation = obj.generation + 2;
            obj.storage.word(6, obj.generation);
            obj.written = 0;
            obj.slots = slots;
            obj.shape = shape;
        end
        function write_block(obj, which)
            k = mod(obj.series, obj.l.blocks);
            % Another value for each state of each series: a reader must not take two states for one.
            lock = 16 * obj.series + 2 * (obj.block(2) - 1);
            obj.storage.block_lock(k, lock + 1);
            obj.storage.block(k, obj.block(which));
            obj.storage.block_lock(k, lock + 2);
        end
        function block = as_block(obj, facts)
            l = obj.l;
            block = zeros(1, l.facts);
            for k = 1:numel(l.scalars)
                block(k) = double(facts.(l.scalars{k}));
            end
            count = min(numel(facts.channel_numbers), l.most_channels);
            block(l.channel_numbers + (1:count)) = facts.channel_numbers(1:count);
            block(l.z + (1:l.most_z)) = NaN;
            if numel(facts.z) <= l.most_z
                block(l.z + (1:numel(facts.z))) = facts.z;
            end
            for k = 1:min(numel(facts.channel_names), l.most_channels)
                at = l.channel_names + (k - 1) * l.name_bytes;
                block = with_text(block, at, facts.channel_names{k}, l.name_bytes);
            end
            block = with_text(block, l.software, facts.software, l.software_bytes);
        end
    end
end

function block = with_text(block, at, text, most)
    codes = double(unicode2native(text, 'UTF-8'));
    codes = codes(1:min(end, most));
    block(at + (1:numel(codes))) = codes;
end
