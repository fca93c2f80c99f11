classdef Bridge < handle
%BRIDGE  Copies each frame of ScanImage into the ring file. deepbid.connect makes it.
%   ScanImage calls `on` in MATLAB's only thread and waits for it, so it does no more than one copy for each channel.
%   An error in it never reaches ScanImage: it is shown once, and the bridge is silent until the next start.
    properties (SetAccess = private)
        ring
        frames = 0          % written since it was connected
    end
    properties (Access = private)
        hSI
        armed = false       % an acquisition runs, and nothing has failed in it
        begun = false       % it has a series
        focusing = false
        complete = false    % no frame has come since acqDone
        slow = false        % a slow stack: each slice is a series
        last_number = NaN
        key = []            % what must not change within a series
        turned = false      % images are (lines, pixels) and have to be turned
        shown = {}          % warnings that were shown in this acquisition
    end
    methods
        function obj = Bridge(hSI, ring)
            obj.hSI = hSI;
            obj.ring = ring;
            state = deepbid.property(hSI, 'acqState');
            if ischar(state) && ~any(strcmp(state, {'idle', 'point'}))
                obj.arm(strcmp(state, 'focus'));  % connected while an acquisition runs
            end
        end
        function on(obj, event)
        %ON  Handle an event of hSI.hUserFunctions.
            try
                switch event
                    case 'frameAcquired'
                        obj.frame();
                    case {'focusStart', 'acqModeStart'}
                        obj.finish('replaced');
                        obj.arm(strcmp(event, 'focusStart'));
                    case 'acqAbort'
                        % It comes at every end: after acqDone, and before acqModeDone and focusDone.
                        obj.finish(obj.end_reason());
                    case 'acqDone'
                        obj.complete = true;
                    case {'acqModeDone', 'focusDone'}
                        obj.finish('done');
                    case 'applicationWillClose'
                        obj.finish('aborted');
                end
            catch failure
                obj.fail(failure);
            end
        end
        function beat(obj)
            try
                obj.ring.beat();
            catch failure
                obj.fail(failure);
            end
        end
        function close(obj)
            obj.armed = false;
            obj.ring.close();
        end
    end
    methods (Access = private)
        function arm(obj, focusing)
            obj.armed = true;
            obj.begun = false;
            obj.focusing = focusing;
            obj.last_number = NaN;
            obj.complete = false;
            obj.slow = false;
            obj.key = [];
            obj.shown = {};
        end
        function frame(obj)
            if ~obj.armed
                return
            end
            stripe = obj.last_stripe();
            number = stripe.frameNumberAcqMode;
            if isequal(number, obj.last_number)
                return  % a fly-back frame: ScanImage announces it, and its buffer still holds the frame before
            end
            if isempty(stripe.roiData)
                error('deepbid:scan', 'Line scans have no frames to denoise. Choose a frame scan.');
            end
            if numel(stripe.roiData) > 1
                error('deepbid:scan', ['This scan has %d ROIs in a plane, and the bridge takes one. ' ...
                    'Switch mROI off, or denoise the files.'], numel(stripe.roiData));
            end
            roi = stripe.roiData{1};
            count = numel(roi.imageData);
            if ~obj.begun || number < obj.last_number || ~isequal(obj.key_of(roi, stripe, count), obj.key)
                obj.begin(stripe, roi, count);
                obj.key = obj.key_of(roi, stripe, count);
            end
            images = cell(1, count);
            for channel = 1:count
                image = roi.imageData{channel}{1};
                if obj.turned
                    image = image.';
                end
                if ~isa(image, 'int16')
                    image = int16(image);  % with a rolling average ScanImage keeps the frame itself as int32
                end
                images{channel} = image;
            end
            obj.ring.put(number, seconds_of(stripe), place_of(stripe), flags_of(stripe), acquisition_of(stripe), ...
                images);
            obj.last_number = number;
            obj.complete = false;
            obj.frames = obj.frames + 1;
        end
        function stripe = last_stripe(obj)
            display = obj.hSI.hDisplay;
            try
                stripe = display.stripeDataBuffer{display.stripeDataBufferPointer};
            catch
                stripe = deepbid.property(display, 'lastStripeData');
            end
            if isempty(deepbid.property(stripe, 'frameNumberAcqMode'))
                error('deepbid:version', ...
                    ['This ScanImage (%s) has no hDisplay.stripeDataBuffer with frameNumberAcqMode, which ' ...
                     'ScanImage 5.7 has. Please report its version.'], deepbid.version_of(obj.hSI));
            end
        end
        function begin(obj, stripe, roi, count)
            image = roi.imageData{1}{1};
            obj.turned = obj.is_turned(roi, size(image));
            shape = [size(image), count];
            if obj.turned
                shape = shape([2 1 3]);
            end
            [facts, missing] = deepbid.facts_of(obj.hSI, stripe, shape);
            if ~isempty(missing)
                obj.warn('missing', 'This ScanImage (%s) does not give: %s. The stream goes without.', ...
                    facts.software, strjoin(missing, ', '));
            end
            obj.slow = ~isnan(facts.slice);
            obj.ring.begin(facts);
            obj.begun = true;
        end
        function turned = is_turned(obj, roi, found)
        % ScanImage stores images (pixels, lines). Column by column, these are line after line. TRANSPOSED says so.
            transposed = deepbid.property(roi, 'transposed');
            turned = ~isempty(transposed) && ~transposed;
            lines = deepbid.property(obj.hSI, 'hRoiManager.linesPerFrame');
            pixels = deepbid.property(obj.hSI, 'hRoiManager.pixelsPerLine');
            if turned && found(1) == found(2)
                obj.warn('transposed', ...
                    ['ScanImage says that its images are not transposed, and square frames do not show whether ' ...
                     'this is right. Check that the scan lines are horizontal in deepbid-rt.']);
            elseif isscalar(lines) && isscalar(pixels) && lines ~= pixels
                stored = [pixels, lines];
                if turned
                    stored = [lines, pixels];
                end
                if isequal(double(found), double(stored([2 1])))
                    obj.warn('transposed', ...
                        'ScanImage says that transposed = %d, but its images are %d x %d for lines of %d pixels.', ...
                        ~turned, found(1), found(2), pixels);
                    turned = ~turned;
                end
            end
        end
        function key = key_of(obj, roi, stripe, count)
        % Runs at every frame. A property that is missing counts as the same: Inf, since NaN differs from itself.
            key = [size(roi.imageData{1}{1}), count, Inf, Inf, Inf];
            try
                key(4) = obj.hSI.hScan2D.linePhase;
                key(5) = obj.hSI.hRoiManager.scanZoomFactor;
            catch
                % Then a change is seen only when the frame's size changes.
            end
            if obj.slow
                key(6) = deepbid.slice_of(obj.hSI, stripe);
            end
        end
        function reason = end_reason(obj)
            reason = 'aborted';
            if obj.complete || obj.focusing  % a focus has no other end
                reason = 'done';
            end
        end
        function finish(obj, reason)
            obj.armed = false;
            obj.begun = false;
            obj.ring.finish(reason);
        end
        function fail(obj, failure)
            obj.armed = false;
            obj.begun = false;
            try
                obj.ring.finish('error');
            catch again
                warning('deepbid:failed', 'deepbid: %s', again.message);
            end
            warning('deepbid:failed', ...
                'deepbid: %s\nScanImage goes on. No frames are sent until the next acquisition starts.', ...
                failure.message);
        end
        function warn(obj, name, varargin)
            if ~any(strcmp(obj.shown, name))
                obj.shown{end + 1} = name;
                warning(['deepbid:', name], ['deepbid: ', varargin{1}], varargin{2:end});
            end
        end
    end
end

function seconds = seconds_of(stripe)
    seconds = scalar_or(deepbid.property(stripe, 'frameTimestamp'), NaN);
end

function place = place_of(stripe)
    place = scalar_or(deepbid.property(stripe, 'zIdx'), 0) - 1;
end

function flags = flags_of(stripe)
    flags = double(scalar_or(deepbid.property(stripe, 'overvoltage'), 0) ~= 0);
end

function number = acquisition_of(stripe)
    number = scalar_or(deepbid.property(stripe, 'acqNumber'), NaN);
end

function value = scalar_or(value, fallback)
    if ~isscalar(value)
        value = fallback;
    end
    value = double(value);
end
