function words = open_ring_file(path, bytes)
%OPEN_RING_FILE  Make the ring file, or check the one that is there; return its first 10 control words.
%   A file of the right size is used again and never shortened: the relay has it mapped, and Windows allows no other
%   change then. The first word is written last, so that the relay takes no unfinished file.
    l = deepbid.layout();
    found = dir(path);
    if ~isempty(found)
        id = opened(path, 'r');
        words = fread(id, 10, 'uint64=>uint64')';
        fclose(id);
        if found(1).bytes == bytes && numel(words) == 10 && words(1) == l.magic && words(2) == l.version
            return
        end
        ours = numel(words) == 10 && (words(1) == l.magic || words(1) == 0);
        if ~ours && found(1).bytes > 0
            error('deepbid:file', '%s is not a ring file. Delete it, or give another ''file''.', path);
        end
        if ~ispc()
            delete(path);  % a new file, since the relay would die of a mapped one that becomes shorter
        end
    end
    id = fopen(path, 'w', 'ieee-le');
    if id < 0 && isempty(found)
        error('deepbid:file', '%s cannot be made. Check the folder, or give another ''file''.', path);
    elseif id < 0
        error('deepbid:file', ...
            ['%s has another size or version than it should, and cannot be replaced while another program uses it. ' ...
             'Stop the relay, then connect again.'], path);
    end
    piece = zeros(1, 2 ^ 17, 'uint64');
    left = bytes / 8;
    while left > 0
        count = fwrite(id, piece(1:min(left, numel(piece))), 'uint64');
        if count < min(left, numel(piece))
            fclose(id);
            error('deepbid:file', ...
                'The disk of %s has no room for %d bytes. Give another ''file'' or ''megabytes''.', path, bytes);
        end
        left = left - count;
    end
    words = zeros(1, 10, 'uint64');
    words(2:4) = uint64([l.version, bytes, l.slots_at]);
    fseek(id, 0, 'bof');
    fwrite(id, words, 'uint64');
    fclose(id);  % before the first word, which says that the rest is there
    words(1) = l.magic;
    id = opened(path, 'r+');
    fwrite(id, words(1), 'uint64');
    fclose(id);
end

function id = opened(path, permission)
    id = fopen(path, permission, 'ieee-le');
    if id < 0
        error('deepbid:file', '%s cannot be opened. Check the folder, or give another ''file''.', path);
    end
end
