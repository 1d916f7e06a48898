/*
 * The lecture's program, written anew from its description: one process per
 * client, a SIGCHLD handler set with signal(), one recv() per byte, a buffer of
 * 4,097 bytes. Its faults are kept, because they are what it costs: bytes past
 * the buffer are dropped, and so is a last line without a newline.
 *
 *     lecture PORT
 *
 * Other than in the lecture, the port is an argument and the backlog is deep, so
 * that the bench measures serving and not repeated SYNs.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LINE 4096

static char rot13_char(char c)
{
	if ((c >= 'a' && c <= 'm') || (c >= 'A' && c <= 'M'))
		return c + 13;
	if ((c >= 'n' && c <= 'z') || (c >= 'N' && c <= 'Z'))
		return c - 13;
	return c;
}

static void reap(int sig)
{
	int saved = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = saved;
}

static void child(int fd)
{
	char line[MAX_LINE + 1];
	size_t used = 0;

	for (;;) {
		char c;
		ssize_t result = recv(fd, &c, 1, 0);

		if (result == 0)
			break;
		if (result < 0) {
			perror("recv");
			break;
		}
		if (used < sizeof line)
			line[used++] = rot13_char(c);
		if (c == '\n') {
			send(fd, line, used, 0);
			used = 0;
		}
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	int listener, one = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: lecture PORT\n");
		return 1;
	}
	signal(SIGCHLD, reap);

	memset(&address, 0, sizeof address);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(atoi(argv[1]));

	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) {
		perror("bind");
		return 1;
	}
	if (listen(listener, 65535) < 0) {
		perror("listen");
		return 1;
	}

	for (;;) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof peer;
		int fd = accept(listener, (struct sockaddr *)&peer, &length);

		if (fd < 0) {
			perror("accept");
			continue;
		}
		if (fork() == 0) {
			close(listener);
			child(fd);
			exit(0);
		}
		close(fd);
	}
}
