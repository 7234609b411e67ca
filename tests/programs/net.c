// SPDX-License-Identifier: BSD-2-Clause
// net serve PORT FILE   whoever sends a line gets the file by sendfile; epoll, any number of connections
// net echo PORT         TCP and UDP: what comes goes back
// net get ADDRESS PORT  connects without blocking and counts what comes
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS 64

struct connection {
	int fd;
	off_t at; // -1: no line yet
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(int port, int type)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int one = 1, fd = socket(AF_INET6, type | SOCK_NONBLOCK, 0);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		fail("bind");
	if (type == SOCK_STREAM && listen(fd, 128))
		fail("listen");
	return fd;
}

static void watch(int epoll, int op, struct connection *c, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll, op, c->fd, &e))
		fail("epoll_ctl");
}

static void end(struct connection *c)
{
	close(c->fd);
	free(c);
}

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *c = malloc(sizeof(*c));

		*c = (struct connection){.fd = fd, .at = -1};
		watch(epoll, EPOLL_CTL_ADD, c, EPOLLIN);
	}
	if (errno != EAGAIN)
		fail("accept");
}

static void go_on(int epoll, struct connection *c, int file, off_t size)
{
	char line[1024];

	if (c->at < 0) {
		if (read(c->fd, line, sizeof(line)) <= 0) {
			end(c);
			return;
		}
		c->at = 0;
		watch(epoll, EPOLL_CTL_MOD, c, EPOLLOUT);
	}
	while (c->at < size)
		if (sendfile(c->fd, file, &c->at, (size_t)(size - c->at)) < 0) {
			if (errno != EAGAIN)
				end(c);
			return;
		}
	end(c);
}

static void serve(int port, const char *path)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), file = open(path, O_RDONLY);
	struct connection listener = {.fd = listen_on(port, SOCK_STREAM)};
	struct epoll_event events[EVENTS];
	struct stat st;

	if (file < 0 || fstat(file, &st))
		fail(path);
	signal(SIGPIPE, SIG_IGN);
	watch(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++)
			if (events[i].data.ptr == &listener)
				accept_all(epoll, listener.fd);
			else
				go_on(epoll, events[i].data.ptr, file, st.st_size);
	}
}

static void echo_stream(int fd)
{
	char bytes[65536];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t at = 0, m; at < n; at += m)
			if ((m = write(fd, bytes + at, (size_t)(n - at))) < 0)
				exit(1);
	exit(n < 0);
}

static void echo(int port)
{
	struct pollfd fds[2] = {{.fd = listen_on(port, SOCK_STREAM), .events = POLLIN},
				{.fd = listen_on(port, SOCK_DGRAM), .events = POLLIN}};
	struct sockaddr_storage from;
	char bytes[65536];

	signal(SIGCHLD, SIG_IGN);
	while (poll(fds, 2, -1) > 0 || errno == EINTR) {
		socklen_t len = sizeof(from);
		ssize_t n;
		int fd;

		if (fds[0].revents && (fd = accept(fds[0].fd, NULL, NULL)) >= 0) {
			if (!fork())
				echo_stream(fd);
			close(fd);
		}
		if (fds[1].revents && (n = recvfrom(fds[1].fd, bytes, sizeof(bytes), 0,
						    (struct sockaddr *)&from, &len)) >= 0)
			sendto(fds[1].fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

static void get(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error;
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(error);
	char bytes[16384];
	uint64_t total = 0;
	ssize_t n;

	inet_pton(AF_INET, address, &to.sin_addr);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)) || errno != EINPROGRESS)
		fail("connect");
	poll(&wait, 1, -1);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		printf("connect: %s\n", strerror(error));
		exit(1);
	}
	fcntl(fd, F_SETFL, 0);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		total += (uint64_t)n;
	printf("%llu bytes, %s\n", (unsigned long long)total, n < 0 ? strerror(errno) : "end");
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]), argv[3]);
	else if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(atoi(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "get"))
		get(argv[2], atoi(argv[3]));
	else
		return 64;
	return 0;
}
