function images = pictures(number)
%PICTURES  Two channels of 6 pixels and 4 lines that differ from frame to frame, with an empty pixel of ScanImage.
    images = {int16(reshape(1:24, 6, 4)) * number - 30, -int16(reshape(1:24, 6, 4)) - number};
    images{1}(3, 2) = -16384;
end
