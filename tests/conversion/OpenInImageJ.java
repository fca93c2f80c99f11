// Opens each file in ImageJ and prints what it finds, for test_other_readers.py.

import ij.ImagePlus;
import ij.io.Opener;
import ij.measure.Calibration;
import ij.process.ImageProcessor;

public class OpenInImageJ {
    public static void main(String[] paths) {
        for (String path : paths) {
            ImagePlus image = new Opener().openImage(path);
            if (image == null) {
                System.out.println("cannot be opened");
                continue;
            }
            Calibration scale = image.getCalibration();
            System.out.printf("sizes %d %d %d %d %d%n", image.getNFrames(), image.getNSlices(), image.getNChannels(),
                    image.getHeight(), image.getWidth());
            System.out.printf("pixel %s %s %s%n", scale.pixelHeight, scale.pixelWidth,
                    scale.getUnit().codePointAt(0) == 0xb5 ? "um" : scale.getUnit());
            System.out.printf("interval %s%n", scale.frameInterval);
            for (int n = 1; n <= image.getStackSize(); n++) {
                System.out.printf("label %s%n", image.getStack().getSliceLabel(n));
                ImageProcessor one = image.getStack().getProcessor(n);
                one.setCalibrationTable(scale.getCTable());  // signed counts are stored as unsigned ones, with a table
                StringBuilder line = new StringBuilder("pixels");
                for (int y = 0; y < image.getHeight(); y++)
                    for (int x = 0; x < image.getWidth(); x++)
                        line.append(' ').append(one.getPixelValue(x, y));
                System.out.println(line);
            }
        }
        System.exit(0);
    }
}
