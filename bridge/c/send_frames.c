/* Publishes frames as a DBRT/1 stream, in plain C with libzmq and nothing else. See ../PROTOCOL.md for the format.
 *
 *     cc -std=c11 -O2 -o send_frames send_frames.c -lzmq
 *     ./send_frames tcp://127.0.0.1:5590 300 30 2 512 512
 *
 * Arguments: address to bind, number of frames, frames per second, channels, lines, pixels. Copy everything above
 * `main` into your program, and call dbrt_open, dbrt_start, dbrt_frame, dbrt_beat and dbrt_end as `main` does. All calls
 * of one sender must come from one thread. Only libzmq is needed on the acquisition computer.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

/* ---- msgpack, as much of it as a header needs. A header of this program is far smaller than the buffer. ---- */

typedef struct {
    unsigned char bytes[2048];
    size_t count;
    int full; /* set instead of writing beyond the end */
} packer;

static void put(packer *out, const void *bytes, size_t count)
{
    if (count > sizeof out->bytes - out->count) {
        out->full = 1;
        return;
    }
    memcpy(out->bytes + out->count, bytes, count);
    out->count += count;
}

/* One byte that says the type, then an unsigned number in big-endian order, as msgpack has it. */
static void put_number(packer *out, unsigned char type, uint64_t value, int width)
{
    put(out, &type, 1);
    while (width-- > 0) {
        unsigned char byte = (unsigned char)(value >> (8 * width));
        put(out, &byte, 1);
    }
}

static void put_map(packer *out, unsigned entries) /* followed by so many keys and values; at most 15 here */
{
    put_number(out, (unsigned char)(0x80 | entries), 0, 0);
}

static void put_array(packer *out, unsigned items)
{
    put_number(out, (unsigned char)(0x90 | items), 0, 0);
}

static void put_text(packer *out, const char *text)
{
    size_t count = strlen(text);
    if (count < 32)
        put_number(out, (unsigned char)(0xa0 | count), 0, 0);
    else
        put_number(out, 0xd9, count & 0xff, 1);
    put(out, text, count);
}

static void put_integer(packer *out, uint64_t value) /* always in the shortest form, which the hash needs */
{
    if (value < 128)
        put_number(out, (unsigned char)value, 0, 0);
    else if (value <= 0xff)
        put_number(out, 0xcc, value, 1);
    else if (value <= 0xffff)
        put_number(out, 0xcd, value, 2);
    else if (value <= 0xffffffff)
        put_number(out, 0xce, value, 4);
    else
        put_number(out, 0xcf, value, 8);
}

static void put_float(packer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(out, 0xcb, bits, 8);
}

static void put_bool(packer *out, int value)
{
    put_number(out, value ? 0xc3 : 0xc2, 0, 0);
}

/* ---- SHA-256 (FIPS 180-4), for the key `hh`. Without it, send any text there that changes with the start body. ---- */

static uint32_t rotated(uint32_t value, int by)
{
    return value >> by | value << (32 - by);
}

static void sha256_block(uint32_t state[8], const unsigned char block[64])
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
               (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t one = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t two = (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

/* The first 16 hexadecimal digits of the SHA-256 of the bytes. */
static void digest(const unsigned char *bytes, size_t count, char hex[17])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char block[64];
    uint64_t bits = (uint64_t)count * 8;
    for (; count >= 64; bytes += 64, count -= 64)
        sha256_block(state, bytes);
    memset(block, 0, sizeof block);
    memcpy(block, bytes, count);
    block[count] = 0x80;
    if (count >= 56) {
        sha256_block(state, block);
        memset(block, 0, sizeof block);
    }
    for (int i = 0; i < 8; i++)
        block[56 + i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_block(state, block);
    snprintf(hex, 17, "%08" PRIx32 "%08" PRIx32, state[0], state[1]);
}

/* ---- A sender of one stream ---- */

typedef struct {
    void *context, *socket;
    const char *source; /* name of the microscope: letters, digits, _ and - */
    packer body;        /* the entries of the start body, packed, in the order of their keys */
    unsigned body_entries;
    char sid[33], hh[17];
    uint64_t seq, sent, last_fn; /* last_fn: number of the last frame, and `sent` is 0 before there is one */
    unsigned shape[3];           /* channels, lines, pixels */
    const char *dtype;           /* "|u1", "<u2", "<i2" or "<f4" */
    size_t frame_bytes;
} dbrt;

static uint64_t now_ns(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Keys of a map may have any order in a message. Here they are all sorted, as the hash needs the start body sorted. */
static int send_message(dbrt *to, const char *kind, const packer *own, unsigned own_entries, int with_body, const void *pixels)
{
    packer header = {{0}, 0, 0};
    char topic[160];
    put_map(&header, own_entries + (with_body ? to->body_entries : 0) + 6);
    if (with_body)
        put(&header, to->body.bytes, to->body.count);
    put(&header, own->bytes, own->count);
    put_text(&header, "hh"), put_text(&header, to->hh);
    put_text(&header, "k"), put_text(&header, kind);
    put_text(&header, "seq"), put_integer(&header, to->seq);
    put_text(&header, "sid"), put_text(&header, to->sid);
    put_text(&header, "ts"), put_integer(&header, now_ns());
    put_text(&header, "v"), put_integer(&header, 1);
    if (header.full || own->full || to->body.full)
        return -1;
    int count = snprintf(topic, sizeof topic, "raw/%s/%s/", to->source, kind);
    /* A PUB or XPUB socket never blocks: when a subscriber is too slow, it loses messages, and sees that by `seq`. */
    if (zmq_send(to->socket, topic, (size_t)count, ZMQ_SNDMORE) < 0 ||
        zmq_send(to->socket, header.bytes, header.count, ZMQ_SNDMORE) < 0 ||
        zmq_send(to->socket, pixels, pixels ? to->frame_bytes : 0, 0) < 0)
        return -1;
    return 0;
}

/* Bind. Keep 127.0.0.1 unless both computers are in a private network: everyone can read any other address. */
static int dbrt_open(dbrt *to, const char *address, const char *source)
{
    int high_water = 64, linger_ms = 1000;
    memset(to, 0, sizeof *to);
    to->source = source;
    to->context = zmq_ctx_new();
    to->socket = zmq_socket(to->context, ZMQ_XPUB); /* PUB that can also tell when a subscriber comes */
    zmq_setsockopt(to->socket, ZMQ_SNDHWM, &high_water, sizeof high_water);
    zmq_setsockopt(to->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms); /* so that the end is still sent */
    return zmq_bind(to->socket, address);
}

/* Wait for a first subscriber, so that the first frames are not lost. Live senders need not. */
static void dbrt_wait(dbrt *to, long timeout_ms)
{
    zmq_pollitem_t item = {to->socket, 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, timeout_ms) > 0) {
        char subscription[160];
        zmq_recv(to->socket, subscription, sizeof subscription, 0);
    }
}

/* Begin a series. Call it again when the shape, the type or the rate changes. */
static int dbrt_start(dbrt *to, const unsigned shape[3], const char *dtype, double rate_hz)
{
    packer sorted = {{0}, 0, 0}, none = {{0}, 0, 0};
    static unsigned series;
    memcpy(to->shape, shape, sizeof to->shape);
    to->dtype = dtype;
    to->frame_bytes = (size_t)shape[0] * shape[1] * shape[2] * (size_t)(dtype[2] - '0');
    to->seq = to->sent = to->last_fn = 0;
    snprintf(to->sid, sizeof to->sid, "%016" PRIx64 "%016" PRIx64, now_ns(), (uint64_t)(uintptr_t)to << 16 | ++series);

    memset(&to->body, 0, sizeof to->body);
    to->body_entries = 4;
    put_text(&to->body, "dtype"), put_text(&to->body, dtype);
    put_text(&to->body, "rate_hz"), put_float(&to->body, rate_hz); /* frames per second, over all planes */
    put_text(&to->body, "scan"), put_map(&to->body, 4);
    put_text(&to->body, "bidi"), put_bool(&to->body, 1); /* successive lines in opposite directions */
    put_text(&to->body, "first"), put_text(&to->body, "fwd");
    put_text(&to->body, "layout"), put_text(&to->body, "ordinary"); /* or "collinear": two lines scan the same tissue */
    put_text(&to->body, "mirrored"), put_bool(&to->body, 1);        /* backward lines are in image order already */
    put_text(&to->body, "shape"), put_array(&to->body, 3);
    for (int i = 0; i < 3; i++)
        put_integer(&to->body, shape[i]);

    put_map(&sorted, to->body_entries);
    put(&sorted, to->body.bytes, to->body.count);
    digest(sorted.bytes, sorted.count, to->hh);
    if (send_message(to, "start", &none, 0, 1, NULL) < 0)
        return -1;
    to->seq++;
    return 0;
}

/* Send a frame: little-endian pixels, X fastest, then Y, then C. `number` counts frames as the acquisition does: when
 * frames were lost before, it jumps. */
static int dbrt_frame(dbrt *to, uint64_t number, const void *pixels)
{
    packer own = {{0}, 0, 0};
    put_text(&own, "dtype"), put_text(&own, to->dtype);
    put_text(&own, "fn"), put_integer(&own, number);
    put_text(&own, "shape"), put_array(&own, 3);
    for (int i = 0; i < 3; i++)
        put_integer(&own, to->shape[i]);
    if (send_message(to, "frame", &own, 3, 0, pixels) < 0)
        return -1;
    to->seq++, to->sent++;
    to->last_fn = number;
    return 0;
}

/* Send once a second while the series runs, and after it: programs that join later learn of the series from it. */
static int dbrt_beat(dbrt *to, int running)
{
    packer own = {{0}, 0, 0};
    uint64_t seq = to->seq;
    put_text(&own, "last_seq"), put_integer(&own, seq - 1);
    put_text(&own, "state"), put_text(&own, running ? "running" : "idle");
    if (to->sent)
        put_text(&own, "last_fn"), put_integer(&own, to->last_fn);
    to->seq = seq - 1; /* a beat repeats the last number */
    int result = send_message(to, "beat", &own, to->sent ? 3 : 2, 1, NULL);
    to->seq = seq;
    return result;
}

/* End the series: "done", "abort" or "error". */
static int dbrt_end(dbrt *to, const char *reason)
{
    packer own = {{0}, 0, 0};
    put_text(&own, "n_sent"), put_integer(&own, to->sent);
    put_text(&own, "reason"), put_text(&own, reason);
    if (to->sent)
        put_text(&own, "last_fn"), put_integer(&own, to->last_fn);
    if (send_message(to, "end", &own, to->sent ? 3 : 2, 0, NULL) < 0)
        return -1;
    to->seq++;
    return 0;
}

static void dbrt_close(dbrt *to)
{
    zmq_close(to->socket);
    zmq_ctx_term(to->context);
}

/* ---- The example: a pattern that moves by one pixel from frame to frame ---- */

static int failed(const char *what)
{
    fprintf(stderr, "error: %s: %s\n", what, zmq_strerror(zmq_errno()));
    return 1;
}

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "tcp://127.0.0.1:5590";
    unsigned long frames = argc > 2 ? strtoul(argv[2], NULL, 10) : 300;
    double rate_hz = argc > 3 ? strtod(argv[3], NULL) : 30;
    unsigned shape[3] = {1, 512, 512};
    for (int i = 0; i < 3; i++)
        if (argc > 4 + i)
            shape[i] = (unsigned)strtoul(argv[4 + i], NULL, 10);
    const uint16_t one = 1;
    if (*(const unsigned char *)&one != 1) {
        fprintf(stderr, "error: this example is for little-endian processors; swap the bytes of the pixels\n");
        return 2;
    }
    if (!(rate_hz > 0 && rate_hz < 1e6) || shape[0] < 1 || shape[0] > 8 || shape[1] < 1 || shape[1] > 8192 || shape[2] < 1 ||
        shape[2] > 8192) {
        fprintf(stderr, "error: expected more than 0 Hz, 1 to 8 channels, 1 to 8192 lines and pixels\n");
        return 2;
    }

    dbrt sender;
    if (dbrt_open(&sender, address, "scope1") < 0)
        return failed(address);
    char bound[256];
    size_t length = sizeof bound;
    if (zmq_getsockopt(sender.socket, ZMQ_LAST_ENDPOINT, bound, &length) < 0)
        return failed("the address");
    printf("publishing on %s\n", bound);
    fflush(stdout);
    dbrt_wait(&sender, 30000);

    int16_t *pixels = malloc((size_t)shape[0] * shape[1] * shape[2] * sizeof *pixels);
    if (pixels == NULL)
        return failed("memory for a frame");
    if (dbrt_start(&sender, shape, "<i2", rate_hz) < 0)
        return failed("the start");
    uint64_t begin_ns = now_ns(), beat_ns = begin_ns;
    for (unsigned long number = 0; number < frames; number++) {
        int16_t *pixel = pixels;
        for (unsigned c = 0; c < shape[0]; c++)
            for (unsigned y = 0; y < shape[1]; y++)
                for (unsigned x = 0; x < shape[2]; x++)
                    *pixel++ = (int16_t)(((x + number) % 256 + 16 * (y % 16) + 1000 * c) - 500);
        uint64_t due_ns = begin_ns + (uint64_t)((double)number * 1e9 / rate_hz);
        for (;;) { /* each time is computed from the beginning, so that the rate does not drift */
            uint64_t time_ns = now_ns();
            if (time_ns - beat_ns >= 1000000000u) {
                beat_ns += 1000000000u;
                if (dbrt_beat(&sender, 1) < 0)
                    return failed("a beat");
            }
            if (time_ns >= due_ns)
                break;
            uint64_t wait_ms = (due_ns - time_ns) / 1000000u;
            zmq_poll(NULL, 0, (long)(wait_ms < 1 ? 1 : wait_ms > 100 ? 100 : wait_ms));
        }
        if (dbrt_frame(&sender, number, pixels) < 0)
            return failed("a frame");
    }
    if (dbrt_end(&sender, "done") < 0 || dbrt_beat(&sender, 0) < 0)
        return failed("the end");
    free(pixels);
    dbrt_close(&sender);
    printf("{\"frames\": %lu}\n", frames);
    return 0;
}
