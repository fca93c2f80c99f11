classdef timer < handle
%TIMER  Stands in for MATLAB's class. It fires when FIRE is called.
    properties
        TimerFcn
        Period = NaN
        running = false
    end
    methods
        function obj = timer(varargin)
            for k = 1:2:numel(varargin)
                if any(strcmp(varargin{k}, {'TimerFcn', 'Period'}))
                    obj.(varargin{k}) = varargin{k + 1};
                end
            end
            timer_made(obj);
        end
        function start(obj)
            obj.running = true;
        end
        function stop(obj)
            obj.running = false;
        end
        function fire(obj)
            callback = obj.TimerFcn;
            callback(obj, []);
        end
    end
end
