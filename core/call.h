/* `enchufe call`: a small client for every kind of endpoint. */
#ifndef CALL_H
#define CALL_H

/* Runs the command with the arguments after the word `call`. Returns the exit status: 0 everything was
 * answered, 1 not (one line on standard error says why), 2 wrong usage. */
int call_main(int argc, char **argv);

#endif
