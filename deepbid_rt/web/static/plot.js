// A plot of the last minute on a canvas, with the newest point at the right edge.

const SPAN_S = 60;
const LEFT = 40;
const BOTTOM = 16;
const TOP = 5;

export class Plot {
  // series: [{color: CSS variable, of: point -> value or null}]; signed: true puts 0 in the middle.
  constructor(canvas, series, signed) {
    this.canvas = canvas;
    this.series = series;
    this.signed = signed;
  }

  draw(points, now) {
    const {canvas} = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name);
    const top = this.top(points);
    const floor = this.signed ? -top : 0;
    const x = (t) => width - (now - t) / SPAN_S * (width - LEFT);
    const y = (value) => TOP + (top - value) / (top - floor) * (height - BOTTOM - TOP);

    pen.font = "10px system-ui, sans-serif";
    pen.fillStyle = color("--faint");
    pen.strokeStyle = color("--line");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of this.signed ? [-top, 0, top] : [0, top / 2, top]) {
      pen.beginPath();
      pen.moveTo(LEFT, y(value));
      pen.lineTo(width, y(value));
      pen.stroke();
      pen.fillText(String(Number(value.toPrecision(3))), LEFT - 5, y(value));
    }
    pen.textBaseline = "bottom";
    for (const ago of [60, 40, 20]) pen.fillText(`-${ago} s`, Math.max(x(now - ago) + 12, LEFT + 24), height);
    pen.fillText("now", width, height);

    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, height);
    pen.clip();
    pen.lineWidth = 1.3;
    pen.lineJoin = "round";
    for (const {color: name, of} of this.series) {
      pen.strokeStyle = color(name);
      pen.beginPath();
      let before = null;
      for (const point of points) {
        const value = of(point);
        if (value === null) { before = null; continue; }
        const at = [x(point[0]), y(Math.max(floor, Math.min(top, value)))];
        // No line across a gap of more than a second.
        if (before === null || point[0] - before > 1) pen.moveTo(...at); else pen.lineTo(...at);
        before = point[0];
      }
      pen.stroke();
      pen.fillStyle = color("--bad");
      for (const point of points) {
        const value = of(point);
        if (value !== null && value > top) pen.fillRect(x(point[0]) - 1, 0, 2, TOP);
      }
    }
    pen.restore();
  }

  // The upper end of the scale: a round number above 99 % of the values, so that one late frame does not flatten the rest.
  // Values above it are marked at the top.
  top(points) {
    const values = points.flatMap((point) => this.series.map(({of}) => of(point)))
      .filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
    const high = values.length ? values[Math.floor((values.length - 1) * 0.99)] * 1.15 : 0;
    const least = Math.max(high, this.signed ? 1 : 5);
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= least);
  }
}
