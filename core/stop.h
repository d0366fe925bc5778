/* stop: SIGTERM, SIGUSR1 (a batch system's warning) and SIGINT ask a run to write a checkpoint and end. A
 * second SIGINT ends the program at once. */
#ifndef LETHE_STOP_H
#define LETHE_STOP_H

void stop_listen(void);            /* from now on; before that, signals do what they always do */
int stop_asked(void);              /* the signal that came; 0: none */
const char *stop_name(int signal); /* "SIGTERM" */

#endif
