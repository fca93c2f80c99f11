function map = subsasgn(map, chain, value)
%SUBSASGN  m.Data(k) = v, m.Data(k).field = v and m.Data(k).field(...) = v, in place in the file.
    if ~map.Writable || ~strcmp(chain(1).subs, 'Data') || ~strcmp(chain(2).type, '()')
        error('memmapfile: only m.Data(k) of a writable map can be assigned');
    end
    k = chain(2).subs{1};
    if ~isscalar(k) || k < 1 || k > map.Repeat
        error('memmapfile: no element %s', mat2str(k));
    end
    at = map.Offset + (k - 1) * map.bytes;
    if isempty(map.Format{1, 3})
        put(map, at, map.Format{1, 1}, value);
        return
    end
    for row = 1:size(map.Format, 1)
        [type, shape, name] = map.Format{row, :};
        bytes = numel(typecast(cast(0, type), 'uint8'));
        if strcmp(name, chain(3).subs)
            if numel(chain) == 3
                if ~isequal(size(value), shape)
                    error('memmapfile: %s has another size', name);
                end
                put(map, at, type, value);
                return
            end
            places = reshape(1:prod(shape), shape);
            wanted = places(chain(4).subs{:});
            if numel(wanted) ~= numel(value) || any(diff(wanted(:)) ~= 1)
                error('memmapfile: %d elements for %d places of %s', numel(value), numel(wanted), name);
            end
            put(map, at + (wanted(1) - 1) * bytes, type, value);
            return
        end
        at = at + prod(shape) * bytes;
    end
    error('memmapfile: no field %s', chain(3).subs);
end

function put(map, at, type, value)
    if ~isa(value, type)
        error('memmapfile: %s where %s is mapped', class(value), type);
    end
    id = fopen(map.path, 'r+', 'ieee-le');
    fseek(id, at, 'bof');
    fwrite(id, value, type);
    fclose(id);
end
