/* The program behind the terminal while we measure: as little work as possible, so that the path to it is what shows.
 *
 *   child echo          give back every byte, each at the start of its line
 *   child flood BYTES   wait for 'G', then write BYTES of lines and stay; answer '?' with '!' before
 *   child noise         write lines for ever, at once
 *   child idle          do nothing
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LINE = 80, BLOCK = 64 * 1024 / LINE * LINE };

/* Raw mode: bytes arrive one by one, come back only if we send them, and are counted as they were written. */
static void set_raw(void)
{
    struct termios mode;
    if (tcgetattr(0, &mode) == 0) {
        cfmakeraw(&mode);
        tcsetattr(0, TCSANOW, &mode);
    }
}

static void write_all(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(1, data, length);
        if (written <= 0)
            exit(1);
        data += written;
        length -= written;
    }
}

/* Write `bytes` of 80-column lines; fewer than 0 means for ever. */
static void write_lines(long long bytes)
{
    static char block[BLOCK];
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = i % LINE == LINE - 2 ? '\r' : i % LINE == LINE - 1 ? '\n' : 'a' + i % 26;
    while (bytes != 0) {
        size_t length = bytes < 0 || bytes > BLOCK ? BLOCK : (size_t)bytes;
        write_all(block, length);
        if (bytes > 0)
            bytes -= length;
    }
}

/* '\r' first: the cursor never reaches the margin, so that a multiplexer's redraw stays one cell. */
static void echo(void)
{
    char in[4096], out[2 * sizeof in];
    ssize_t length;
    while ((length = read(0, in, sizeof in)) > 0) {
        for (ssize_t i = 0; i < length; i++) {
            out[2 * i] = '\r';
            out[2 * i + 1] = in[i];
        }
        write_all(out, 2 * length);
    }
}

static void flood_when_told(long long bytes)
{
    char byte;
    while (read(0, &byte, 1) == 1) {
        if (byte == '?')
            write_all("!", 1);
        else if (byte == 'G')
            write_lines(bytes);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "idle") == 0)
        for (;;)
            pause();
    set_raw();
    if (strcmp(what, "echo") == 0)
        echo();
    else if (strcmp(what, "noise") == 0)
        write_lines(-1);
    else if (strcmp(what, "flood") == 0 && argc > 2)
        flood_when_told(atoll(argv[2]));
    else
        return 2;
    return 0;
}
