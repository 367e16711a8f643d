/* A viewer of a terminal, over each of the ways a terminal can be reached, doing the same work on all of them.
 *
 *   client flood BYTES    WAY...   start the child's flood and time it;   prints {"seconds", "bytes", "lost"}
 *   client echo  COUNT    WAY...   type COUNT keys, wait for each;        prints {"p50_us", "p99_us", "count"}
 *   client watch BYTES    WAY...   as flood, but somebody else starts it: prints "ready" on standard error first
 *   client stall SECONDS  WAY...   attach, say "ready", and never read again
 *
 * WAY is one of
 *   pty COMMAND...                 a terminal of our own with COMMAND behind it (a child, or a tmux client)
 *   dtach SOCKET                   dtach's protocol
 *   ptybridge SOCKET SESSION       the attach frames of src/ptybridge/wire/attach.py
 *   websocket PORT PATH KEY        the same in the messages of a WebSocket (RFC 6455)
 *   terminado PORT PATH            terminado's messages: JSON arrays ["stdin", TEXT] and ["stdout", TEXT]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

enum { ROWS = 24, COLS = 80, PATIENCE_MS = 20000 };

static int fd;
static pid_t child = 0;
static unsigned char buffer[512 * 1024];
static const char *name_of_way;

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s (%s)\n", name_of_way ? name_of_way : "", what, strerror(errno));
    if (child)
        kill(child, SIGKILL);
    exit(1);
}

static void write_all(const void *data, size_t length)
{
    const char *rest = data;
    while (length > 0) {
        ssize_t written = write(fd, rest, length);
        if (written <= 0)
            fail("write");
        rest += written;
        length -= written;
    }
}

static int readable(int milliseconds)
{
    struct pollfd one = {fd, POLLIN, 0};
    return poll(&one, 1, milliseconds) > 0;
}

static ssize_t read_some(void *data, size_t length)
{
    ssize_t count = read(fd, data, length);
    if (count <= 0)
        fail("the other side is gone");
    return count;
}

static void connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        fail("the path is too long");
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
}

/* -- the ways --------------------------------------------------------------------------------------------------
 *
 * Each has `send_keys`, and `receive`, which blocks for some of the terminal's output, hands it to `take`, and adds
 * to `lost` what the other side says it has discarded.
 */

static void (*take)(const unsigned char *data, size_t length);
static void (*send_keys)(const char *keys, size_t length);
static void (*receive)(void);
static long long lost = 0;

static void plain_receive(void)
{
    take(buffer, read_some(buffer, sizeof buffer));
}

static void plain_send(const char *keys, size_t length)
{
    write_all(keys, length);
}

static void open_pty(char **command)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLS};
    struct termios mode = {0};
    cfmakeraw(&mode);
    mode.c_cflag |= CS8 | CREAD;
    child = forkpty(&fd, NULL, &mode, &size);
    if (child < 0)
        fail("forkpty");
    if (child == 0) {
        setenv("TERM", "xterm-256color", 1);
        execvp(command[0], command);
        _exit(127);
    }
    send_keys = plain_send;
    receive = plain_receive;
}

/* dtach 0.9, dtach.h: struct packet {u8 type; u8 len; union {u8 buf[sizeof(struct winsize)]; struct winsize ws;}}. */
struct dtach_packet {
    unsigned char type, length;
    union {
        unsigned char bytes[sizeof(struct winsize)];
        struct winsize size;
    } u;
};
enum { DTACH_PUSH = 0, DTACH_ATTACH = 1 };

static void dtach_send(const char *keys, size_t length)
{
    struct dtach_packet packet = {.type = DTACH_PUSH, .length = length};
    memcpy(packet.u.bytes, keys, length);
    write_all(&packet, sizeof packet);
}

static void open_dtach(const char *path)
{
    struct dtach_packet packet = {.type = DTACH_ATTACH};
    connect_to(path);
    write_all(&packet, sizeof packet);
    send_keys = dtach_send;
    receive = plain_receive;
}

enum { INPUT = 0x01, ACK = 0x03, OUTPUT = 0x11, SNAPSHOT = 0x12, GAP = 0x14, PING = 0x21, PONG = 0x22, HEAD = 5, OFFSET = 8 };
/* Saying less often what has been shown costs nothing; much more often would cost the daemon. */
enum { ACK_EVERY = 256 * 1024 };

static size_t held = 0; /* bytes of `buffer` that are the beginning of an unfinished frame */
static uint64_t acknowledged = 0;

static uint64_t big_endian(const unsigned char *data, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | data[i];
    return value;
}

static void put_big_endian(unsigned char *data, int bytes, uint64_t value)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        data[i] = value & 0xff;
}

enum { TEXT_MESSAGE = 1, BINARY_MESSAGE = 2, CLOSE_MESSAGE = 8, PING_MESSAGE = 9, PONG_MESSAGE = 10 };
static int over_websocket = 0;

/* A mask of zeros is one like any other, and what it costs is the client's affair. */
static void send_message(int opcode, const void *payload, size_t length)
{
    unsigned char message[8 + 256] = {0x80 | opcode, 0x80 | (length < 126 ? length : 126)};
    size_t head = 2;
    if (length >= 126) {
        put_big_endian(message + 2, 2, length);
        head = 4;
    }
    memset(message + head, 0, 4);
    memcpy(message + head + 4, payload, length);
    write_all(message, head + 4 + length);
}

static void send_frame(int type, const void *payload, size_t length)
{
    unsigned char frame[HEAD + 240];
    frame[0] = type;
    put_big_endian(frame + 1, 4, length);
    memcpy(frame + HEAD, payload, length);
    if (over_websocket)
        send_message(BINARY_MESSAGE, frame, HEAD + length);
    else
        write_all(frame, HEAD + length);
}

static void frame_send(const char *keys, size_t length)
{
    send_frame(INPUT, keys, length);
}

static void acknowledge(uint64_t offset)
{
    unsigned char ack[OFFSET];
    put_big_endian(ack, OFFSET, offset);
    send_frame(ACK, ack, sizeof ack);
    acknowledged = offset;
}

static void take_frame(int type, const unsigned char *payload, size_t length)
{
    if (type == OUTPUT) {
        uint64_t end = big_endian(payload, OFFSET) + length - OFFSET;
        take(payload + OFFSET, length - OFFSET);
        if (end >= acknowledged + ACK_EVERY)
            acknowledge(end);
    } else if (type == SNAPSHOT) {
        acknowledge(big_endian(payload, OFFSET));
    } else if (type == GAP) {
        lost += big_endian(payload + OFFSET, OFFSET) - big_endian(payload, OFFSET);
    } else if (type == PING) {
        send_frame(PONG, payload, length);
    }
}

static void frame_receive(void)
{
    size_t at = 0;
    held += read_some(buffer + held, sizeof buffer - held);
    while (held - at >= HEAD) {
        size_t length = big_endian(buffer + at + 1, 4);
        if (length > sizeof buffer - HEAD)
            fail("a frame is larger than the buffer");
        if (held - at < HEAD + length)
            break;
        take_frame(buffer[at], buffer + at + HEAD, length);
        at += HEAD + length;
    }
    memmove(buffer, buffer + at, held - at);
    held -= at;
}

static void open_ptybridge(const char *path, const char *session)
{
    char line[512];
    unsigned char byte = 0;
    connect_to(path);
    int length = snprintf(line, sizeof line,
                          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.attach\",\"params\":"
                          "{\"session_id\":\"%s\",\"rows\":%d,\"cols\":%d}}\n",
                          session, ROWS, COLS);
    write_all(line, length);
    size_t got = 0;
    for (; byte != '\n' && got < sizeof line - 1; got++) {
        read_some(&byte, 1);
        line[got] = byte;
    }
    line[got] = 0;
    if (strstr(line, "\"result\"") == NULL) {
        fputs(line, stderr);
        fail("session.attach was refused");
    }
    send_keys = frame_send;
    receive = frame_receive;
}

/* -- WebSockets ---------------------------------------------------------------------------------------------- */

static void (*take_message)(int opcode, unsigned char *payload, size_t length);

static void message_receive(void)
{
    size_t at = 0;
    held += read_some(buffer + held, sizeof buffer - held);
    while (held - at >= 2) {
        size_t length = buffer[at + 1] & 0x7f, head = length < 126 ? 2 : length == 126 ? 4 : 10;
        if (held - at < head)
            break;
        if (head > 2)
            length = big_endian(buffer + at + 2, head - 2);
        if (length > sizeof buffer - head)
            fail("a message is larger than the buffer");
        if (held - at < head + length)
            break;
        int opcode = buffer[at] & 0x0f;
        if (opcode == CLOSE_MESSAGE)
            fail("the server closes");
        if (opcode == PING_MESSAGE)
            send_message(PONG_MESSAGE, buffer + at + head, length);
        else
            take_message(opcode, buffer + at + head, length);
        at += head + length;
    }
    memmove(buffer, buffer + at, held - at);
    held -= at;
}

static void take_frames(int opcode, unsigned char *payload, size_t length)
{
    if (opcode != BINARY_MESSAGE)
        return; /* the answer before the first frame */
    while (length >= HEAD) {
        size_t inner = big_endian(payload + 1, 4);
        take_frame(payload[0], payload + HEAD, inner);
        payload += HEAD + inner;
        length -= HEAD + inner;
    }
}

/* ["stdout", "TEXT"], decoded in place; what a bench prints is ASCII. */
static void take_json(int opcode, unsigned char *payload, size_t length)
{
    static const char begin[] = "[\"stdout\", \"";
    size_t at = sizeof begin - 1, made = 0;
    (void)opcode;
    if (length < at + 2 || memcmp(payload, begin, at) != 0)
        return;
    for (; at < length - 2; at++) {
        unsigned char byte = payload[at];
        if (byte == '\\') {
            byte = payload[++at];
            if (byte == 'u') {
                char digits[5] = {0};
                memcpy(digits, payload + at + 1, 4);
                byte = strtol(digits, NULL, 16);
                at += 4;
            } else if (byte == 'n') {
                byte = '\n';
            } else if (byte == 'r') {
                byte = '\r';
            }
        }
        payload[made++] = byte;
    }
    take(payload, made);
}

static void json_send(const char *keys, size_t length)
{
    char message[64];
    int made = snprintf(message, sizeof message, "[\"stdin\", \"%.*s\"]", (int)length, keys);
    send_message(TEXT_MESSAGE, message, made);
}

static void open_websocket(const char *port, const char *path, const char *key)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int one = 1;
    char head[2048];
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int length = snprintf(head, sizeof head,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "%s%s%s\r\n",
                          path, port, key ? "Sec-WebSocket-Protocol: ptybridge.v1\r\nAuthorization: Bearer " : "",
                          key ? key : "", key ? "\r\n" : "");
    write_all(head, length);
    size_t got = 0;
    for (; got < sizeof head - 1 && (got < 4 || memcmp(head + got - 4, "\r\n\r\n", 4) != 0); got++)
        read_some(head + got, 1);
    head[got] = 0;
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) {
        fputs(head, stderr);
        fail("the upgrade was refused");
    }
    over_websocket = 1;
    send_keys = key ? frame_send : json_send;
    take_message = key ? take_frames : take_json;
    receive = message_receive;
}

static void open_way(int count, char **way)
{
    name_of_way = way[0];
    if (strcmp(way[0], "pty") == 0 && count > 1)
        open_pty(way + 1);
    else if (strcmp(way[0], "dtach") == 0 && count == 2)
        open_dtach(way[1]);
    else if (strcmp(way[0], "ptybridge") == 0 && count == 3)
        open_ptybridge(way[1], way[2]);
    else if (strcmp(way[0], "websocket") == 0 && count == 4)
        open_websocket(way[1], way[2], way[3]);
    else if (strcmp(way[0], "terminado") == 0 && count == 3)
        open_websocket(way[1], way[2], NULL);
    else
        fail("no such way");
}

/* -- the work ------------------------------------------------------------------------------------------------ */

static long long taken = 0;
static char wanted;
static int seen;

static void count_bytes(const unsigned char *data, size_t length)
{
    (void)data;
    taken += length;
}

/* Look for the key outside escape sequences: a multiplexer's `ESC [ H` is not the key H. */
static void look_for_key(const unsigned char *data, size_t length)
{
    static enum { TEXT, ESCAPE, SEQUENCE } state = TEXT;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = data[i];
        if (state == ESCAPE)
            state = byte == '[' ? SEQUENCE : TEXT;
        else if (state == SEQUENCE)
            state = byte >= 0x40 ? TEXT : SEQUENCE;
        else if (byte == 0x1b)
            state = ESCAPE;
        else if (byte == (unsigned char)wanted)
            seen = 1;
    }
}

static void receive_within(int milliseconds)
{
    if (!readable(milliseconds))
        fail("nothing came");
    receive();
}

/* Type `key` until it, or the answer to it, comes back: the child may not have set its terminal yet. */
static void wait_for_child(char key, char answer)
{
    take = look_for_key;
    wanted = answer;
    seen = 0;
    for (int tries = 0; !seen && tries < 200; tries++) {
        send_keys(&key, 1);
        while (!seen && readable(50))
            receive();
    }
    if (!seen)
        fail("the child does not answer");
    /* Answers to the other tries, and the screen of a multiplexer. */
    while (readable(200))
        receive();
}

static void flood(long long bytes, int start)
{
    if (start)
        wait_for_child('?', '!');
    take = count_bytes;
    taken = lost = 0;
    fputs("ready\n", stderr);
    if (start)
        send_keys("G", 1);
    while (taken == 0) /* a snapshot may come first */
        receive_within(PATIENCE_MS);
    double begin = now();
    while (taken + lost < bytes)
        receive_within(PATIENCE_MS);
    printf("{\"seconds\": %.6f, \"bytes\": %lld, \"lost\": %lld}\n", now() - begin, taken, lost);
}

static void echo(int count)
{
    double *times = calloc(count, sizeof *times);
    wait_for_child('!', '!');
    for (int i = 0; i < count; i++) {
        char key = 'A' + i % 26;
        wanted = key;
        seen = 0;
        double begin = now();
        send_keys(&key, 1);
        while (!seen)
            receive_within(PATIENCE_MS);
        times[i] = now() - begin;
    }
    double middle = median(times, count);
    printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"count\": %d}\n", middle * 1e6, times[count * 99 / 100] * 1e6, count);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: client flood|echo|watch|stall NUMBER WAY...\n", stderr);
        return 2;
    }
    const char *work = argv[1];
    signal(SIGPIPE, SIG_IGN);
    open_way(argc - 3, argv + 3);
    if (strcmp(work, "flood") == 0)
        flood(atoll(argv[2]), 1);
    else if (strcmp(work, "watch") == 0)
        flood(atoll(argv[2]), 0);
    else if (strcmp(work, "echo") == 0)
        echo(atoi(argv[2]));
    else if (strcmp(work, "stall") == 0) {
        fputs("ready\n", stderr);
        sleep(atoi(argv[2]));
    }
    if (child) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return 0;
}
