// SPDX-License-Identifier: BSD-2-Clause
// unix FOLDER   local sockets: pairs, names, descriptors and credentials in messages. "ok", or the line that failed.
// Runs on Linux too.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define BYTES (1 << 20)

static void pair(int type, int fds[2])
{
	MUST(!socketpair(AF_UNIX, type, 0, fds));
}

static void both_close(const int fds[2])
{
	MUST(!close(fds[0]) && !close(fds[1]));
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

// ---- bytes and records ----

static void streams(void)
{
	static uint8_t bytes[BYTES];
	int fds[2], status, left;
	size_t at = 0;
	ssize_t n;

	pair(SOCK_STREAM, fds);
	if (!fork()) {
		close(fds[0]);
		for (size_t i = 0; i < BYTES; i++)
			bytes[i] = pattern(i);
		MUST(write(fds[1], bytes, BYTES) == BYTES);
		MUST(!shutdown(fds[1], SHUT_WR));
		MUST(read(fds[1], bytes, 4) == 4 && !memcmp(bytes, "done", 4));
		exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], bytes, 12345)) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			MUST(bytes[i] == pattern(at));
	MUST(!n && at == BYTES);
	MUST(write(fds[0], "done", 4) == 4);
	MUST(wait(&status) > 0 && !status);
	MUST(send(fds[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	close(fds[0]);

	pair(SOCK_STREAM, fds);
	MUST(write(fds[0], "unread", 6) == 6);
	MUST(!ioctl(fds[1], FIONREAD, &left) && left == 6);
	close(fds[1]);
	MUST(read(fds[0], bytes, 1) == -1 && errno == ECONNRESET);
	MUST(read(fds[0], bytes, 1) == 0);
	close(fds[0]);
}

static void records(void)
{
	struct iovec part = {.iov_len = 3};
	struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
	char bytes[16];
	int fds[2];

	pair(SOCK_SEQPACKET, fds);
	part.iov_base = bytes;
	MUST(write(fds[0], "first", 5) == 5 && write(fds[0], "second", 6) == 6);
	MUST(recvmsg(fds[1], &h, 0) == 3 && h.msg_flags & MSG_TRUNC);
	MUST(recv(fds[1], bytes, sizeof(bytes), MSG_PEEK) == 6);
	MUST(recv(fds[1], bytes, 2, MSG_TRUNC) == 6 && !memcmp(bytes, "se", 2));
	close(fds[0]);
	MUST(read(fds[1], bytes, 1) == 0);
	close(fds[1]);
}

static void backpressure(void)
{
	static char bytes[30000];
	int fds[2];
	struct pollfd p = {.events = POLLOUT};

	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
	p.fd = fds[0];
	MUST(poll(&p, 1, 0) == 1);
	while (write(fds[0], bytes, sizeof(bytes)) > 0)
		;
	MUST(errno == EAGAIN && poll(&p, 1, 0) == 0);
	while (read(fds[1], bytes, sizeof(bytes)) > 0)
		;
	MUST(errno == EAGAIN && poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
	close(fds[1]);
	MUST(poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
	close(fds[0]);
}

// ---- names ----

static socklen_t name_of(struct sockaddr_un *at, const char *text)
{
	*at = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (text[0] == '@') {
		strcpy(at->sun_path + 1, text + 1);
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text));
	}
	strcpy(at->sun_path, text);
	return sizeof(*at);
}

static void datagrams(void)
{
	struct sockaddr_un at, from;
	socklen_t len = name_of(&at, "@pagewire-test"), from_len = sizeof(from);
	int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char bytes[4000];
	struct pollfd p;
	int sent = 0;

	MUST(!bind(a, (void *)&at, len));
	MUST(bind(b, (void *)&at, len) && errno == EADDRINUSE);
	MUST(sendto(b, "one", 3, 0, (void *)&at, len) == 3);
	MUST(recvfrom(a, bytes, sizeof(bytes), 0, (void *)&from, &from_len) == 3 && from_len == 0);
	MUST(!bind(b, (void *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof(sa_family_t)));
	MUST(!connect(b, (void *)&at, len));
	MUST(send(b, "", 0, 0) == 0 && send(b, "two", 3, 0) == 3);
	from_len = sizeof(from);
	MUST(recvfrom(a, bytes, sizeof(bytes), 0, (void *)&from, &from_len) == 0);
	MUST(from_len == sizeof(sa_family_t) + 6 && !from.sun_path[0]);
	MUST(recv(a, bytes, sizeof(bytes), 0) == 3);
	MUST(sendto(a, "back", 4, 0, (void *)&from, from_len) == 4 && recv(b, bytes, 10, 0) == 4);
	while (send(b, bytes, sizeof(bytes), 0) > 0)
		sent++;
	p = (struct pollfd){.fd = b, .events = POLLOUT};
	MUST(errno == EAGAIN && sent > 5 && poll(&p, 1, 0) == 0);
	while (sent-- > 0)
		MUST(recv(a, bytes, sizeof(bytes), 0) == sizeof(bytes));
	MUST(poll(&p, 1, 1000) == 1);
	close(a);
	MUST(send(b, "x", 1, 0) == -1 && errno == ECONNREFUSED);
	close(b);
}

static void names(const char *folder)
{
	struct sockaddr_un at, seen;
	socklen_t len, seen_len = sizeof(seen);
	char path[100], bytes[8];
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s, status;
	struct ucred who;
	struct stat st;

	snprintf(path, sizeof(path), "%s/socket", folder);
	len = name_of(&at, path);
	MUST(connect(c, (void *)&at, len) && errno == ENOENT);
	MUST(listen(l, 1) && errno == EINVAL);
	MUST(!bind(l, (void *)&at, len) && !stat(path, &st) && S_ISSOCK(st.st_mode));
	MUST(connect(c, (void *)&at, len) && errno == ECONNREFUSED);
	MUST(!listen(l, 1));
	if (!fork()) {
		MUST(!connect(c, (void *)&at, len));
		MUST(read(c, bytes, 2) == 2);
		exit(0);
	}
	s = accept(l, NULL, NULL);
	MUST(s >= 0 && write(s, "hi", 2) == 2);
	len = sizeof(who);
	MUST(!getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.pid > 0);
	MUST(who.pid == wait(&status) && !status);
	MUST(!getsockname(s, (void *)&seen, &seen_len) && !strcmp(seen.sun_path, path));
	close(s);
	close(c);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	len = name_of(&at, path);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(bind(s, (void *)&at, len) && errno == EADDRINUSE);
	close(s);
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	MUST(connect(s, (void *)&at, len) && errno == EPROTOTYPE);
	close(s);
	MUST(!connect(c, (void *)&at, len));
	close(l); // with one in its queue
	MUST(read(c, bytes, 1) == -1 && errno == ECONNRESET);
	close(c);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(connect(c, (void *)&at, len) && errno == ECONNREFUSED);
	close(c);
	MUST(!unlink(path));
}

// ---- beside the bytes ----

static ssize_t pass(int fd, const int *fds, unsigned count)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(300 * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = (char *)"p", .iov_len = 1};
	struct msghdr h = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = CMSG_SPACE(count * sizeof(int))};

	memset(&control, 0, sizeof(control));
	control.h = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
				     .cmsg_level = SOL_SOCKET,
				     .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.h), fds, count * sizeof(int));
	return sendmsg(fd, &h, 0);
}

// How many came; room for `most`.
static int take(int fd, int *fds, unsigned most, int flags, int *out_flags)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(300 * sizeof(int))];
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr h = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = most ? CMSG_LEN(most * sizeof(int)) : 0};
	int count;

	MUST(recvmsg(fd, &h, flags) == 1);
	*out_flags = h.msg_flags;
	if (!h.msg_controllen)
		return 0;
	MUST(control.h.cmsg_level == SOL_SOCKET && control.h.cmsg_type == SCM_RIGHTS);
	count = (int)((control.h.cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(&control.h), (size_t)count * sizeof(int));
	return count;
}

static void descriptors(void)
{
	int fds[2], ends[2], got[300], flags, many[254];
	char byte;

	pair(SOCK_STREAM, fds);
	MUST(!pipe(ends));
	MUST(pass(fds[0], ends, 2) == 1);
	both_close(ends);
	MUST(take(fds[1], got, 2, MSG_CMSG_CLOEXEC, &flags) == 2 && !(flags & MSG_CTRUNC));
	MUST(fcntl(got[0], F_GETFD) == FD_CLOEXEC);
	MUST(write(got[1], "!", 1) == 1 && read(got[0], &byte, 1) == 1 && byte == '!');
	both_close(got);

	// Room for one of two; for none; looked at, and taken; dropped by read.
	MUST(!pipe(ends));
	MUST(pass(fds[0], ends, 2) == 1 && pass(fds[0], ends, 2) == 1);
	MUST(take(fds[1], got, 1, 0, &flags) == 1 && flags & MSG_CTRUNC);
	close(got[0]);
	MUST(take(fds[1], got, 0, 0, &flags) == 0 && flags & MSG_CTRUNC);
	MUST(pass(fds[0], ends, 2) == 1 && pass(fds[0], ends, 1) == 1);
	MUST(take(fds[1], got, 9, MSG_PEEK, &flags) == 2);
	both_close(got);
	MUST(take(fds[1], got, 9, 0, &flags) == 2);
	both_close(got);
	MUST(read(fds[1], &byte, 1) == 1);
	for (int n = 0; n < 254; n++)
		many[n] = ends[0];
	MUST(pass(fds[0], many, 254) == -1);
	many[3] = -1;
	MUST(pass(fds[0], many, 9) == -1 && errno == EBADF);
	close(ends[0]);
	MUST(pass(fds[0], ends + 1, 1) == 1);
	close(ends[1]);
	both_close(fds); // with a descriptor unread
}

static void credentials(void)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char byte = 'c';
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
	struct ucred who;
	int fds[2], one = 1;

	pair(SOCK_DGRAM, fds);
	MUST(!setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	MUST(write(fds[0], "c", 1) == 1);
	h.msg_controllen = sizeof(control);
	MUST(recvmsg(fds[1], &h, 0) == 1);
	MUST(control.h.cmsg_type == SCM_CREDENTIALS);
	memcpy(&who, CMSG_DATA(&control.h), sizeof(who));
	MUST(who.pid == getpid() && who.uid == getuid());
	both_close(fds);
}

// ---- what must not stay ----

// Pairs that lie in each other's queues, and a chain of them.
static void knots(void)
{
	int a[2], b[2], chain[2], next[2];

	for (int n = 0; n < 100; n++) {
		pair(SOCK_STREAM, a);
		pair(SOCK_DGRAM, b);
		MUST(pass(a[0], a, 1) == 1 && pass(a[1], a + 1, 1) == 1);
		MUST(pass(a[0], b, 2) == 1 && pass(b[0], a, 2) == 1);
		both_close(a);
		both_close(b);
	}
	pair(SOCK_STREAM, chain);
	for (int n = 0; n < 500; n++) {
		pair(SOCK_STREAM, next);
		MUST(pass(next[0], chain, 2) == 1);
		both_close(chain);
		memcpy(chain, next, sizeof(chain));
	}
	both_close(chain);
}

static void many_at_once(void)
{
	struct iovec parts[3];
	struct mmsghdr h[3] = {0};
	char bytes[3][8];
	int fds[2];

	pair(SOCK_DGRAM, fds);
	for (int n = 0; n < 3; n++) {
		parts[n] = (struct iovec){.iov_base = (char *)"abc", .iov_len = (size_t)n + 1};
		h[n].msg_hdr = (struct msghdr){.msg_iov = &parts[n], .msg_iovlen = 1};
	}
	MUST(sendmmsg(fds[0], h, 3, 0) == 3 && h[2].msg_len == 3);
	for (int n = 0; n < 3; n++)
		parts[n] = (struct iovec){.iov_base = bytes[n], .iov_len = sizeof(bytes[n])};
	MUST(recvmmsg(fds[1], h, 2, 0, NULL) == 2 && h[1].msg_len == 2);
	MUST(recvmmsg(fds[1], h, 3, MSG_WAITFORONE, NULL) == 1 && h[0].msg_len == 3);
	MUST(!memcmp(bytes[0], "abc", 3));
	both_close(fds);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc != 2)
		return 64;
	streams();
	records();
	backpressure();
	datagrams();
	names(argv[1]);
	descriptors();
	credentials();
	many_at_once();
	knots();
	puts("ok");
	return 0;
}
