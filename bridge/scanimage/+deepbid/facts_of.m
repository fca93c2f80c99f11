function [facts, missing] = facts_of(hSI, stripe, shape)
%FACTS_OF  Describe a series, from the properties of ScanImage.
%   [FACTS, MISSING] = deepbid.facts_of(HSI, STRIPE, SHAPE)
%   HSI      ScanImage's model
%   STRIPE   the StripeData of the first frame
%   SHAPE    pixels in a line, lines, channels
%   FACTS    struct with the names of deepbid.layout().scalars, channel_numbers, channel_names, z, software. Numbers
%            that this version of ScanImage does not give are NaN.
%   MISSING  cell of their names, of those that matter for denoising
%   Call it at a frame, not at focusStart or acqModeStart: ScanImage sets much of this only after these events.
    missing = {};
    facts = struct('series', 0, 'state', 0, 'first', 0, 'last', NaN, ...
        'channels', shape(3), 'lines', shape(2), 'pixels', shape(1));
    facts.frame_rate_hz = number('hRoiManager.scanFrameRate');
    if ~(facts.frame_rate_hz > 0)
        facts.frame_rate_hz = 1 / number('hRoiManager.scanFramePeriod');
    end
    volume = volume_of(hSI);
    facts.planes = volume.planes;
    facts.flyback = volume.flyback;
    facts.frames_per_slice = number('hStackManager.framesPerSlice');
    facts.bidirectional = number('hScan2D.bidirectional');
    facts.scanner_hz = number('hScan2D.scannerFrequency');
    facts.resonant = resonant();
    facts.uniform_sampling = number('hScan2D.uniformSampling');
    [facts.pixel_um_y, facts.pixel_um_x] = pixel_um();
    facts.line_phase_s = number('hScan2D.linePhase');
    facts.fill_fraction_temporal = number('hScan2D.fillFractionTemporal');
    facts.fill_fraction_spatial = number('hScan2D.fillFractionSpatial');
    facts.line_period_s = number('hRoiManager.linePeriod');
    facts.zoom = number('hRoiManager.scanZoomFactor');
    facts.slice = deepbid.slice_of(hSI, stripe);
    facts.z = volume.z;
    facts.channel_numbers = double(channel_numbers());
    facts.channel_names = channel_names(facts.channel_numbers);
    facts.software = deepbid.version_of(hSI);
    for name = {'frame_rate_hz', 'bidirectional', 'line_phase_s', 'scanner_hz', 'fill_fraction_temporal'}
        if ~isfinite(facts.(name{1}))
            missing = [missing, name]; %#ok<AGROW>
        end
    end

    function value = number(path)
        value = deepbid.property(hSI, path);
        if ~(isnumeric(value) || islogical(value)) || ~isscalar(value)
            value = NaN;
        end
        value = double(value);
    end

    function value = resonant()
        mode = deepbid.property(hSI, 'hScan2D.scanMode');
        if ischar(mode) && ~isempty(mode)
            value = double(strcmpi(mode, 'resonant'));
        else
            value = double(isfinite(facts.scanner_hz));  % linear scanners of old versions have no frequency
        end
    end

    function [height, width] = pixel_um()
        corners = deepbid.property(hSI, 'hRoiManager.imagingFovUm');
        if ~isequal(size(corners), [4 2])
            corners = deepbid.property(hSI, 'hRoiManager.imagingFovDeg');
            scale = deepbid.property(hSI, 'objectiveResolution');
            if isequal(size(corners), [4 2]) && isscalar(scale)
                corners = corners * scale;
            else
                corners = NaN(4, 2);
            end
        end
        width = norm(corners(2, :) - corners(1, :)) / shape(1);
        height = norm(corners(3, :) - corners(2, :)) / shape(2);
    end

    function numbers = channel_numbers()
        numbers = deepbid.property(stripe.roiData{1}, 'channels');
        if numel(numbers) ~= shape(3)
            numbers = deepbid.property(stripe, 'channelNumbers');
        end
        if numel(numbers) ~= shape(3)
            numbers = 1:shape(3);
        end
        numbers = numbers(:)';
    end

    function names = channel_names(numbers)
        given = deepbid.property(hSI, 'hChannels.channelName');
        names = cell(1, numel(numbers));
        for k = 1:numel(numbers)
            if iscell(given) && numbers(k) <= numel(given) && ischar(given{numbers(k)})
                names{k} = given{numbers(k)};
            else
                names{k} = sprintf('Channel %d', numbers(k));
            end
        end
    end
end

function volume = volume_of(hSI)
% Frames of a fast volume. In a slow stack, as without one, frames come from one plane at a time.
    volume = struct('planes', 1, 'flyback', 0, 'z', []);
    fast = deepbid.property(hSI, 'hStackManager.isFastZ');
    if isempty(fast)
        fast = deepbid.property(hSI, 'hFastZ.enable');
    end
    if isempty(fast) || ~fast
        return
    end
    z = deepbid.property(hSI, 'hStackManager.zs');
    planes = deepbid.property(hSI, 'hStackManager.numFramesPerVolume');
    if isempty(planes)
        planes = numel(z);
    end
    if isempty(planes) || planes < 1
        error('deepbid:version', ...
            'This ScanImage scans volumes but gives neither hStackManager.numFramesPerVolume nor hStackManager.zs.');
    end
    volume.planes = double(planes);
    if numel(z) == planes
        volume.z = double(z(:)');
    end
    whole = deepbid.property(hSI, 'hStackManager.numFramesPerVolumeWithFlyback');
    flyback = deepbid.property(hSI, 'hFastZ.numDiscardFlybackFrames');
    if ~isempty(whole)
        volume.flyback = double(whole) - volume.planes;
    elseif ~isempty(flyback)
        volume.flyback = double(flyback);
    end
end
