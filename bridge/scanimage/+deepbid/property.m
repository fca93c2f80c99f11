function value = property(object, path)
%PROPERTY  Read a property of a property, such as 'hScan2D.linePhase'; [] when this version of ScanImage has none.
    value = object;
    names = {path};
    if any(path == '.')
        names = strsplit(path, '.');  % slow, and not needed for what is read at every frame
    end
    for name = names
        try
            value = value.(name{1});
        catch
            value = [];
            return
        end
    end
end
