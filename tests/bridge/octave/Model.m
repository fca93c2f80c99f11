classdef Model < handle
%MODEL  Stands in for hSI: the properties of ScanImage that the bridge reads, and the order of its events.
%   The facts behind it are those of ScanImage's source (SI.m, Display.m, StackManager.m, Acquisition.m): events come
%   before settings are final, acqAbort comes at every end, fly-back frames are announced and not stored.
    properties
        VERSION_MAJOR = '5.7';
        VERSION_MINOR = '1';
        acqState = 'idle';
        hUserFunctions
        hDisplay
        hRoiManager
        hScan2D
        hStackManager
        hFastZ
        hChannels
        objectiveResolution = 15;
        number = 0;     % frames of the acquisition mode
    end
    methods
        function obj = Model(version)
            obj.hUserFunctions = UserFunctions();
            obj.hDisplay = struct('stripeDataBuffer', {{[], []}}, 'stripeDataBufferPointer', 1);
            obj.hRoiManager = struct('scanFrameRate', 30.5, 'scanFramePeriod', 1 / 30.5, 'linePeriod', 6.3e-5, ...
                'scanZoomFactor', 2, 'pixelsPerLine', 6, 'linesPerFrame', 4, ...
                'imagingFovUm', [-300 -100; 300 -100; 300 100; -300 100]);
            obj.hScan2D = struct('linePhase', 1.25e-6, 'scannerFrequency', 7910, 'fillFractionTemporal', 0.75, ...
                'fillFractionSpatial', 0.875, 'bidirectional', true, 'uniformSampling', false, 'scanMode', 'resonant');
            obj.hStackManager = struct('isFastZ', false, 'isSlowZ', false, 'zs', 0, 'framesPerSlice', 1, ...
                'numFramesPerVolume', 1, 'numFramesPerVolumeWithFlyback', 1);
            obj.hFastZ = struct('enable', false, 'numDiscardFlybackFrames', 0);
            obj.hChannels = struct('channelName', {{'Green µ', 'Red', 'Channel 3', 'Channel 4'}}, ...
                'channelDisplay', [1 2]);
            switch version
                case '5.7'
                case '2020'
                    obj.VERSION_MAJOR = '2020';
                    obj.VERSION_MINOR = '1.4';
                case '2023'
                    obj.VERSION_MAJOR = 2023;
                    obj.VERSION_MINOR = 1;
                case 'old'
                    % Without what 5.7 added.
                    obj.VERSION_MAJOR = '5.2';
                    obj.hScan2D = rmfield(obj.hScan2D, {'linePhase', 'scanMode', 'fillFractionTemporal'});
                    obj.hStackManager = struct('zs', 0);
                    obj.hRoiManager = rmfield(obj.hRoiManager, {'imagingFovUm', 'scanFrameRate', 'scanZoomFactor'});
                    obj.hRoiManager.imagingFovDeg = [-20 -10; 20 -10; 20 10; -20 10];
                    obj.hChannels = struct();
            end
        end
        function start(obj, mode)
            names = {'acqModeStart', 'focusStart'};
            obj.hUserFunctions.notify(names{1 + strcmp(mode, 'focus')});
            obj.acqState = mode;
            obj.number = 0;
            if strcmp(mode, 'focus')
                obj.hStackManager.framesPerSlice = Inf;
            end
        end
        function volumes(obj, zs, flyback)
            obj.hFastZ = struct('enable', true, 'numDiscardFlybackFrames', flyback);
            obj.hStackManager.isFastZ = true;
            obj.hStackManager.zs = zs;
            obj.hStackManager.numFramesPerVolume = numel(zs);
            obj.hStackManager.numFramesPerVolumeWithFlyback = numel(zs) + flyback;
        end
        function frame(obj, images, varargin)
        % One frame of images {channel}(pixels, lines), and fields of StripeData that are other than usual.
            obj.number = obj.number + 1;
            stripe = struct('frameNumberAcqMode', obj.number, 'frameNumberAcq', obj.number, 'acqNumber', 1, ...
                'frameTimestamp', (obj.number - 1) / 30.5, 'zIdx', 1, 'overvoltage', false, ...
                'endOfAcquisitionMode', false, 'channelNumbers', 1:numel(images), 'transposed', true);
            for k = 1:2:numel(varargin)
                stripe.(varargin{k}) = varargin{k + 1};
            end
            obj.number = stripe.frameNumberAcqMode;
            if isfield(obj.hStackManager, 'isFastZ') && obj.hStackManager.isFastZ
                step = obj.hStackManager.numFramesPerVolumeWithFlyback;
                stripe.zIdx = mod(stripe.frameNumberAcq - 1, step) + 1;
                if stripe.zIdx > obj.hStackManager.numFramesPerVolume
                    stripe.zIdx = NaN;
                end
            end
            if ~isnan(stripe.zIdx)
                roi = struct('channels', stripe.channelNumbers, 'zs', 0, 'transposed', stripe.transposed);
                roi.imageData = cellfun(@(image) {image}, images, 'UniformOutput', false);
                stripe.roiData = {roi};
                obj.hDisplay.stripeDataBufferPointer = 3 - obj.hDisplay.stripeDataBufferPointer;
                obj.hDisplay.stripeDataBuffer{obj.hDisplay.stripeDataBufferPointer} = stripe;
            end
            obj.hUserFunctions.notify('frameAcquired');
        end
        function complete(obj)
        % The end that ScanImage finds itself.
            obj.hUserFunctions.notify('acqDone');
            obj.acqState = 'idle';
            obj.hUserFunctions.notify('acqAbort');
            obj.hUserFunctions.notify('acqModeDone');
        end
        function abort(obj)
        % The button.
            obj.hUserFunctions.notify('acqAbort');
            focus = strcmp(obj.acqState, 'focus');
            obj.acqState = 'idle';
            if focus
                obj.hUserFunctions.notify('focusDone');
            end
        end
    end
end
