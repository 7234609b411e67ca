// SPDX-License-Identifier: BSD-2-Clause
// ends CALL: a connection on port 7000 that the other end closes or resets while this one is in that call; says what
// the call came to: "CALL: result errno". What is expected is what Linux says.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

#define PORT 7000
#define GATE 7001

struct sock_extended_err {
	uint32_t number;
	uint8_t origin, type, code, pad;
	uint32_t info, data;
};

static char bytes[65536];

static int listen_on(int port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	MUST(!bind(fd, (struct sockaddr *)&any, sizeof(any)) && !listen(fd, 8));
	return fd;
}

static int say(const char *call, long result)
{
	printf("%s: %ld %d\n", call, result, result < 0 ? errno : 0);
	return 0;
}

static long until_it_fails(ssize_t (*once)(int fd), int fd)
{
	ssize_t n;

	while ((n = once(fd)) > 0)
		;
	return n;
}

static ssize_t send_once(int fd)
{
	return send(fd, bytes, sizeof(bytes), 0);
}
static ssize_t sendfile_once(int fd)
{
	int file = open("/bin/ends", O_RDONLY);
	ssize_t n = sendfile(fd, file, NULL, 1 << 20);
	int error = errno;

	close(file);
	errno = error;
	return n;
}
static ssize_t splice_once(int fd)
{
	int file = open("/bin/ends", O_RDONLY), ends[2], error;
	ssize_t n;

	MUST(!pipe(ends) && splice(file, NULL, ends[1], NULL, 16384, 0) > 0);
	n = splice(ends[0], NULL, fd, NULL, 16384, 0);
	error = errno;
	close(file);
	close(ends[0]);
	close(ends[1]);
	errno = error;
	return n;
}

static uint32_t lent;
static ssize_t zerocopy_once(int fd)
{
	ssize_t n = send(fd, bytes, sizeof(bytes), MSG_ZEROCOPY);

	lent += n > 0;
	return n;
}

// Every page that was lent is told of, whatever became of the connection.
static void until_told(int fd)
{
	for (uint32_t told = 0; told < lent;) {
		char control[256];
		struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
		struct pollfd p = {.fd = fd};
		struct sock_extended_err e;

		if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0) {
			MUST(errno == EAGAIN);
			poll(&p, 1, 10);
			continue;
		}
		memcpy(&e, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(e));
		told = e.data + 1;
	}
}

static int in_call(const char *call, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	int one = 1, ends[2], epoll = epoll_create1(0);
	long n;

	MUST(send(fd, "r", 1, 0) == 1);
	if (!strcmp(call, "recv"))
		return say(call, recv(fd, bytes, sizeof(bytes), 0));
	if (!strcmp(call, "waitall"))
		return say(call, recv(fd, bytes, sizeof(bytes), MSG_WAITALL));
	if (!strcmp(call, "send"))
		return say(call, until_it_fails(send_once, fd));
	if (!strcmp(call, "sendfile"))
		return say(call, until_it_fails(sendfile_once, fd));
	if (!strcmp(call, "splice-out"))
		return say(call, until_it_fails(splice_once, fd));
	if (!strcmp(call, "zerocopy")) {
		MUST(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
		n = until_it_fails(zerocopy_once, fd);
		say(call, n);
		until_told(fd);
		return 0;
	}
	if (!strcmp(call, "splice-in")) {
		MUST(!pipe(ends));
		return say(call, splice(fd, NULL, ends[1], NULL, 4096, 0));
	}
	if (!strcmp(call, "poll")) {
		MUST(poll(&p, 1, -1) == 1);
		return say(call, p.revents);
	}
	if (!strcmp(call, "epoll")) {
		MUST(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) &&
		     epoll_wait(epoll, &event, 1, -1) == 1);
		return say(call, event.events);
	}
	if (!strcmp(call, "half-closed")) {
		MUST(!shutdown(fd, SHUT_WR));
		return say(call, recv(fd, bytes, sizeof(bytes), 0));
	}
	if (!strcmp(call, "send-after")) { // its FIN or RST has been seen
		MUST(poll(&p, 1, -1) == 1);
		return say(call, send(fd, "x", 1, 0));
	}
	return 64;
}

// Connections that ended before they were taken do not keep the next one out; "r" goes to the one that lives.
static int accept_the_living(void)
{
	int listener = listen_on(PORT), gate = listen_on(GATE), fd;

	MUST(accept(gate, NULL, NULL) >= 0);
	for (;;) {
		MUST((fd = accept(listener, NULL, NULL)) >= 0);
		if (recv(fd, bytes, 1, 0) == 1)
			break;
		close(fd);
	}
	MUST(send(fd, "r", 1, 0) == 1);
	return say("accept", 0);
}

// A UDP socket on port 7002 that is not read before the connection's end.
static int unread(int fd)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7002)};
	int s = socket(AF_INET, SOCK_DGRAM, 0), n = 0;

	MUST(!bind(s, (struct sockaddr *)&any, sizeof(any)) && send(fd, "r", 1, 0) == 1);
	MUST(recv(fd, bytes, 1, 0) == 0);
	while (recv(s, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		n++;
	return say("unread", n > 0);
}

static int connect_to(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(inet_pton(AF_INET, address, &to.sin_addr) == 1);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return say("connect", -1);
	return say("connect", recv(fd, bytes, sizeof(bytes), 0));
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 2)
		return 64;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2)
		return connect_to(argv[2]);
	if (!strcmp(argv[1], "accept"))
		return accept_the_living();
	MUST((fd = accept(listen_on(PORT), NULL, NULL)) >= 0);
	if (!strcmp(argv[1], "unread"))
		return unread(fd);
	return in_call(argv[1], fd);
}
