// SPDX-License-Identifier: BSD-2-Clause
// A static Linux program for bench/recv_latency.py: sends back what comes to port 7, one process over TCP (a
// connection at a time), one over UDP, each blocked in recvfrom. `received` is the address of the first instruction
// that is executed in user mode after any recvfrom: the counting plugin is told it, so the program is not to be
// position-independent, and lies where no other program does (recv_latency.py links it).
//
//	echo                                      says "echo: ready" when both ports are open
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PORT = 7, LONGEST = 2048 };

// Not inline: `received` exists once.
__attribute__((noinline)) static long receive(int fd, void *to, unsigned long bytes,
					      struct sockaddr_in *from)
{
	socklen_t length = sizeof(*from);
	register long flags __asm__("r10") = 0;
	register struct sockaddr_in *address __asm__("r8") = from;
	register socklen_t *size __asm__("r9") = &length;
	long got;

	__asm__ volatile("syscall\n"
			 ".globl received\n"
			 "received:\n"
			 : "=a"(got)
			 : "0"((long)SYS_recvfrom), "D"((long)fd), "S"(to), "d"(bytes), "r"(flags),
			   "r"(address), "r"(size)
			 : "rcx", "r11", "memory");
	return got;
}

static int opened(int type)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, type, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    (type == SOCK_STREAM && listen(fd, 1))) {
		perror("echo");
		_exit(1);
	}
	return fd;
}

static void echo(int fd, int type)
{
	static char bytes[LONGEST];
	struct sockaddr_in from;
	long got;

	while ((got = receive(fd, bytes, sizeof(bytes), &from)) > 0)
		if (type == SOCK_STREAM)
			send(fd, bytes, (size_t)got, 0);
		else
			sendto(fd, bytes, (size_t)got, 0, (struct sockaddr *)&from, sizeof(from));
}

int main(void)
{
	int listener = opened(SOCK_STREAM), datagrams = opened(SOCK_DGRAM);

	printf("echo: ready\n");
	fflush(stdout);
	if (!fork())
		for (;;)
			echo(datagrams, SOCK_DGRAM);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return 1;
		echo(fd, SOCK_STREAM);
		close(fd);
	}
}
