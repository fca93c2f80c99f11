function made = timer_made(new)
%TIMER_MADE  The last timer.
    persistent last
    if nargin
        last = new;
    end
    made = last;
end
