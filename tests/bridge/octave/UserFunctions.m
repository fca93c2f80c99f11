classdef UserFunctions < handle
%USERFUNCTIONS  Stands in for hSI.hUserFunctions: keeps listeners and calls them at an event.
    properties
        listeners = {};
        unknown = '';  % an event that this version does not have
    end
    methods
        function listener = addlistener(obj, event, callback)
            if strcmp(event, obj.unknown)
                error('no event %s', event);
            end
            listener = Listener(event, callback);
            obj.listeners{end + 1} = listener;
        end
        function notify(obj, event)
            for k = 1:numel(obj.listeners)
                one = obj.listeners{k};
                if one.alive && strcmp(one.event, event)
                    callback = one.callback;
                    callback(obj, struct('EventName', event));
                end
            end
        end
    end
end
