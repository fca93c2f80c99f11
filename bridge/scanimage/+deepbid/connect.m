function bridge = connect(varargin)
%CONNECT  Send the frames of ScanImage to deepbid-rt, from the next frame on.
%   deepbid.connect                       after ScanImage has started
%   deepbid.connect('megabytes', 256)     a larger ring file (default 128)
%   deepbid.connect('file', PATH)         another ring file; give the relay the same with --file
%   deepbid.connect('hSI', MODEL)         another model than hSI of the base workspace
%   bridge = deepbid.connect(...)         the deepbid.Bridge; bridge.frames counts the frames that were written
%   Nothing of ScanImage's settings changes. deepbid.disconnect, or the end of MATLAB, undoes it.
    options = struct('file', fullfile(tempdir(), 'deepbid-rt-ring.bin'), 'megabytes', 128, 'hSI', [], ...
        'storage', 'map');
    for k = 1:2:numel(varargin)
        if k == numel(varargin) || ~ischar(varargin{k}) || ~isfield(options, varargin{k})
            error('deepbid:option', ...
                'deepbid.connect takes pairs: ''file'', ''megabytes'' or ''hSI'', each with its value.');
        end
        options.(varargin{k}) = varargin{k + 1};
    end
    megabytes = options.megabytes;
    if ~isnumeric(megabytes) || ~isscalar(megabytes) || ~(megabytes >= 1 && megabytes <= 65536)
        error('deepbid:option', 'megabytes has to be a number from 1 to 65536.');
    end
    hSI = options.hSI;
    if isempty(hSI)
        if ~evalin('base', 'exist(''hSI'', ''var'')')
            error('deepbid:scanimage', 'There is no hSI in the workspace. Start ScanImage, then connect.');
        end
        hSI = evalin('base', 'hSI');
    end
    functions = deepbid.property(hSI, 'hUserFunctions');
    if isempty(functions)
        error('deepbid:version', 'This ScanImage (%s) has no hUserFunctions, which ScanImage 5.7 has.', ...
            deepbid.version_of(hSI));
    end
    deepbid.disconnect();
    bytes = 4096 * round(megabytes * 256);
    if strcmp(options.storage, 'file')
        storage = deepbid.FileStorage(options.file, bytes);
    else
        storage = deepbid.MapStorage(options.file, bytes);
    end
    bridge = deepbid.Bridge(hSI, deepbid.Ring(storage, bytes));
    [listeners, unknown] = listen(functions, bridge);
    if ~isempty(unknown)
        cellfun(@delete, listeners);
        bridge.close();
        error('deepbid:version', 'This ScanImage (%s) has no event %s, which ScanImage 5.7 has.', ...
            deepbid.version_of(hSI), strjoin(unknown, ', '));
    end
    pulse = [];
    if exist('timer') %#ok<EXIST>
        % Tells the relay that MATLAB lives while it waits for a trigger. Octave has no timer.
        pulse = timer('Name', 'deepbid', 'ExecutionMode', 'fixedSpacing', 'Period', 1, 'BusyMode', 'drop', ...
            'TimerFcn', @(varargin) bridge.beat());
        start(pulse);
    end
    deepbid.connection({bridge, listeners, pulse});
    fprintf('deepbid: connected to %s. Frames go to %s\n', deepbid.version_of(hSI), options.file);
end

function [listeners, unknown] = listen(functions, bridge)
    listeners = {};
    unknown = {};
    for event = {'frameAcquired', 'focusStart', 'focusDone', 'acqModeStart', 'acqModeDone', 'acqDone', 'acqAbort', ...
            'applicationWillClose'}
        name = event{1};
        try
            listeners{end + 1} = addlistener(functions, name, @(varargin) bridge.on(name)); %#ok<AGROW>
        catch
            unknown{end + 1} = name; %#ok<AGROW>
        end
    end
end
