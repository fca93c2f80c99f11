function disconnect()
%DISCONNECT  Undo deepbid.connect. A running series ends.
    connection = deepbid.connection();
    if isempty(connection)
        return
    end
    [bridge, listeners, pulse] = connection{:};
    for k = 1:numel(listeners)
        delete(listeners{k});
    end
    if ~isempty(pulse)
        stop(pulse);
        delete(pulse);
    end
    bridge.close();
    deepbid.connection({});
end
