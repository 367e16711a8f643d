/* Asks the same question again and again, with a number of questions always in flight.
 *
 *   calls DEPTH COUNT ANSWER REQUEST socket PATH
 *   calls DEPTH COUNT ANSWER REQUEST pipe COMMAND...
 *
 * REQUEST is sent with a newline. An answer is complete with the line that begins with ANSWER.
 * Prints {"per_second", "p50_us"}; the latter only for DEPTH 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

static int fd;

static void fail(const char *what)
{
    fprintf(stderr, "calls: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static void connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
}

/* A socket pair and not two pipes, so that both ways ask the kernel for the same. */
static pid_t run(char **command)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        fail("socketpair");
    pid_t child = fork();
    if (child == 0) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[0]);
        execvp(command[0], command);
        _exit(127);
    }
    close(pair[1]);
    fd = pair[0];
    return child;
}

static void send_request(const char *line, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, line, length);
        if (written <= 0)
            fail("write");
        line += written;
        length -= written;
    }
}

/* Count complete answers among newly read bytes: lines that begin with `answer`, cut anywhere by the reads. */
static int count_answers(const char *data, ssize_t length, const char *answer)
{
    static size_t matched = 0; /* how much of `answer` the current line has matched */
    static int skip = 0;
    size_t wanted = strlen(answer);
    int complete = 0;
    for (ssize_t i = 0; i < length; i++) {
        if (data[i] == '\n') {
            complete += !skip && matched == wanted;
            matched = 0;
            skip = 0;
        } else if (!skip && matched < wanted) {
            if (data[i] == answer[matched])
                matched++;
            else
                skip = 1;
        }
    }
    return complete;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fputs("usage: calls DEPTH COUNT ANSWER REQUEST socket PATH | pipe COMMAND...\n", stderr);
        return 2;
    }
    int depth = atoi(argv[1]), count = atoi(argv[2]), child = 0, sent = 0, answered = 0;
    const char *answer = argv[3];
    static char input[1 << 18];
    char *request = NULL;
    int length = asprintf(&request, "%s\n", argv[4]);
    double *times = calloc(count, sizeof *times);

    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[5], "socket") == 0)
        connect_to(argv[6]);
    else
        child = run(argv + 6);

    /* One answered question first: whatever greets us at the start is not measured. */
    for (send_request(request, length); answered == 0;) {
        ssize_t got = read(fd, input, sizeof input);
        if (got <= 0)
            fail("the other side is gone");
        answered = count_answers(input, got, answer);
    }
    answered = 0;
    double begin = now(), asked = begin;
    while (answered < count) {
        for (; sent < count && sent - answered < depth; sent++)
            send_request(request, length);
        ssize_t got = read(fd, input, sizeof input);
        if (got <= 0)
            fail("the other side is gone");
        int news = count_answers(input, got, answer);
        double moment = now();
        for (int i = 0; i < news && answered < count; i++)
            times[answered++] = moment - asked;
        if (news > 0)
            asked = moment;
    }
    double seconds = now() - begin;
    printf("{\"per_second\": %.1f, \"p50_us\": %.2f}\n", count / seconds, depth == 1 ? median(times, count) * 1e6 : 0);
    if (child > 0) {
        kill(child, SIGTERM);
        waitpid(child, NULL, 0);
    }
    return 0;
}
