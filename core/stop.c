#define _GNU_SOURCE
#include "core/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void hear(int number) {
    static const char text[] = "\nasked to stop: after this update; Ctrl-C again ends at once\n";
    int code = errno;
    if (number == SIGINT && asked == SIGINT) signal(SIGINT, SIG_DFL), raise(SIGINT);
    asked = number;
    if (number == SIGINT && write(STDERR_FILENO, text, sizeof text - 1) < 0)
        asked = number; /* nobody to tell */
    errno = code;
}

void stop_listen(void) {
    const int list[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction act = {.sa_handler = hear, .sa_flags = SA_RESTART};
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) sigaction(list[i], &act, NULL);
}

int stop_asked(void) {
    return asked;
}

const char *stop_name(int number) {
    return number == SIGTERM   ? "SIGTERM"
           : number == SIGUSR1 ? "SIGUSR1"
           : number == SIGINT  ? "SIGINT"
                               : "a signal";
}
