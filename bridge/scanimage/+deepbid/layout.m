function l = layout()
%LAYOUT  Positions in the ring file, as RING.md describes them.
    l.magic = typecast(uint8('DBRTRING'), 'uint64');
    l.version = 1;
    l.blocks_at = 4096;
    l.blocks = 4;
    l.block_bytes = 8192;
    l.slots_at = 36864;
    l.head_bytes = 64;
    l.least_slots = 4;
    l.scalars = {'series', 'state', 'first', 'last', 'channels', 'lines', 'pixels', 'frame_rate_hz', ...
        'planes', 'flyback', 'bidirectional', 'resonant', 'uniform_sampling', 'pixel_um_y', 'pixel_um_x', ...
        'line_phase_s', 'scanner_hz', 'fill_fraction_temporal', 'fill_fraction_spatial', 'line_period_s', ...
        'zoom', 'frames_per_slice', 'slice'};
    l.channel_numbers = 32;
    l.most_channels = 8;
    l.z = 40;
    l.most_z = 512;
    l.channel_names = 552;
    l.name_bytes = 32;
    l.software = 808;
    l.software_bytes = 64;
    l.facts = 872;
    l.states = {'running', 'done', 'aborted', 'error', 'replaced'};
end
