function slice = slice_of(hSI, stripe)
%SLICE_OF  Number of the slice of a slow stack, from 1; NaN when no slow stack is scanned.
%   ScanImage scans framesPerSlice frames in each slice, and zIdx counts on from slice to slice.
    slice = NaN;
    slow = deepbid.property(hSI, 'hStackManager.isSlowZ');
    frames = deepbid.property(hSI, 'hStackManager.framesPerSlice');
    place = deepbid.property(stripe, 'zIdx');
    if isscalar(slow) && slow && isscalar(frames) && isscalar(place)
        slice = ceil(double(place) / max(1, double(frames)));
    end
end
