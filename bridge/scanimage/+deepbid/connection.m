function kept = connection(new)
%CONNECTION  What deepbid.connect made: {bridge, listeners, timer}, or {}. One at a time; CONNECTION(NEW) replaces it.
    persistent current
    mlock();  % 'clear all' must not forget a bridge that goes on writing: a second one would write into the same file
    if nargin
        current = new;
    end
    kept = current;
end
