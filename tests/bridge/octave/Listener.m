classdef Listener < handle
%LISTENER  Stands in for MATLAB's event.listener.
    properties
        event
        callback
        alive = true;
    end
    methods
        function obj = Listener(event, callback)
            obj.event = event;
            obj.callback = callback;
        end
        function delete(obj)
            obj.alive = false;
        end
    end
end
