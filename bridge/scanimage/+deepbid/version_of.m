function text = version_of(hSI)
%VERSION_OF  Name and version of the acquisition program, such as 'ScanImage 5.7.1'.
    text = 'ScanImage';
    separator = ' ';
    for name = {'VERSION_MAJOR', 'VERSION_MINOR'}
        value = deepbid.property(hSI, name{1});
        if isnumeric(value) && isscalar(value)
            value = sprintf('%g', value);
        end
        if ischar(value) && ~isempty(value)
            text = [text, separator, value]; %#ok<AGROW>
            separator = '.';
        end
    end
end
