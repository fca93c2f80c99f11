function map = memmapfile(path, varargin)
%MEMMAPFILE  Stands in for MATLAB's class in GNU Octave: only assignments, and as strict as MATLAB.
    map = struct('path', path, 'Writable', false, 'Offset', 0, 'Repeat', Inf, 'Format', 'uint8');
    for k = 1:2:numel(varargin)
        if ~isfield(map, varargin{k}) || strcmp(varargin{k}, 'path')
            error('memmapfile: no property %s', varargin{k});
        end
        map.(varargin{k}) = varargin{k + 1};
    end
    if ischar(map.Format)
        map.Format = {map.Format, [1 1], ''};
    end
    map.bytes = 0;  % of one repetition
    for k = 1:size(map.Format, 1)
        map.bytes = map.bytes + prod(map.Format{k, 2}) * size_of(map.Format{k, 1});
    end
    found = dir(path);
    if isempty(found) || map.Offset + map.Repeat * map.bytes > found(1).bytes
        error('memmapfile: the file is too small');
    end
    map = class(map, 'memmapfile');
end

function bytes = size_of(type)
    bytes = numel(typecast(cast(0, type), 'uint8'));
end
