function images = waves(number)
%WAVES  Two channels of 40 pixels and 30 lines that differ from frame to frame.
    x = (0:39)';
    y = 0:29;
    images = {int16(mod(x * 7 + y * 13 + number * 31, 4096) - 100), int16(mod(x * 5 + y * 3 + number * 17, 2048))};
end
