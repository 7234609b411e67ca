// SPDX-License-Identifier: BSD-2-Clause
// local talk OWN       TCP and UDP between two processes over 127.0.0.0/8, ::1 and the machine's own address; the
//                      errors that belong to it. "ok", or what went wrong.
// local options        options of TCP sockets, and that connections have their listener's; runs on Linux too. "ok"
// local window         SO_RCVBUF bounds what may wait unread; runs on Linux too. "ok"
// local stuck          TCP_USER_TIMEOUT ends a connection whose peer does not read; runs on Linux too. "ok"
// local cork           what is held back goes where there is no room for more; runs on Linux too. "ok"
// local peek           MSG_PEEK shows all that has come; runs on Linux too. "ok"
// local lengths        lengths that are negative as signed numbers; runs on Linux too. "ok"
// local again          a refused connection is asked for again with the same socket; runs on Linux too. "ok"
// local put FILE PATH  puts a file on the machine's own server, by sendfile; prints the answer's first line
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define BYTES (1 << 20)

struct name {
	struct sockaddr_storage at;
	socklen_t len;
};

static struct name name_of(const char *text, int port)
{
	struct name n = {.len = sizeof(struct sockaddr_in)};
	struct sockaddr_in *in = (void *)&n.at;
	struct sockaddr_in6 *in6 = (void *)&n.at;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		return n;
	}
	n.len = sizeof(*in6);
	MUST(inet_pton(AF_INET6, text, &in6->sin6_addr) == 1);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)port);
	return n;
}

static uint8_t pattern(int seed, size_t at)
{
	return (uint8_t)((size_t)seed + at * 31 + at / 251);
}

static void send_pattern(int fd, int seed)
{
	static uint8_t bytes[BYTES];

	for (size_t n = 0; n < BYTES; n++)
		bytes[n] = pattern(seed, n);
	for (size_t at = 0; at < BYTES;) {
		ssize_t n = write(fd, bytes + at, BYTES - at);

		MUST(n > 0);
		at += (size_t)n;
	}
	MUST(!shutdown(fd, SHUT_WR));
}

static void expect_pattern(int fd, int seed)
{
	uint8_t bytes[10000];
	size_t at = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			MUST(bytes[i] == pattern(seed, at));
	MUST(!n && at == BYTES);
}

static void over_tcp(const char *text)
{
	struct name to = name_of(text, 7000), seen = {.len = sizeof(seen.at)};
	int one = 1, status, fd, listener = socket(to.at.ss_family, SOCK_STREAM, 0);

	MUST(listener >= 0);
	MUST(!setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	MUST(!bind(listener, (void *)&to.at, to.len) && !listen(listener, 4));
	if (!fork()) {
		fd = accept(listener, (void *)&seen.at, &seen.len);
		MUST(fd >= 0 && seen.at.ss_family == to.at.ss_family);
		expect_pattern(fd, 1);
		send_pattern(fd, 2);
		exit(0);
	}
	fd = socket(to.at.ss_family, SOCK_STREAM, 0);
	MUST(fd >= 0 && !connect(fd, (void *)&to.at, to.len));
	MUST(!getpeername(fd, (void *)&seen.at, &seen.len) && seen.len == to.len);
	MUST(!memcmp(&seen.at, &to.at, to.len));
	send_pattern(fd, 1);
	expect_pattern(fd, 2);
	MUST(wait(&status) > 0 && !status);
	close(fd);
	close(listener);
}

static void over_udp(const char *text)
{
	static const size_t sizes[] = {0, 1, 127, 1472, 1473, 9000, 65000};
	static uint8_t out[65000], in[65536];
	struct name to = name_of(text, 7001), from = {.len = sizeof(from.at)};
	int a = socket(to.at.ss_family, SOCK_DGRAM, 0), b = socket(to.at.ss_family, SOCK_DGRAM, 0);

	MUST(a >= 0 && b >= 0 && !bind(a, (void *)&to.at, to.len));
	for (size_t n = 0; n < sizeof(out); n++)
		out[n] = pattern(3, n);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		from.len = sizeof(from.at);
		MUST(sendto(b, out, sizes[i], 0, (void *)&to.at, to.len) == (ssize_t)sizes[i]);
		MUST(recvfrom(a, in, sizeof(in), 0, (void *)&from.at, &from.len) ==
		     (ssize_t)sizes[i]);
		MUST(!memcmp(in, out, sizes[i]));
		MUST(sendto(a, out, sizes[i], 0, (void *)&from.at, from.len) == (ssize_t)sizes[i]);
		MUST(recv(b, in, sizeof(in), 0) == (ssize_t)sizes[i]);
		MUST(!memcmp(in, out, sizes[i]));
	}
	close(a);
	close(b);
}

static void refusals(void)
{
	struct name lo = name_of("127.0.0.1", 0), far = name_of("192.0.2.1", 9);
	struct name nobody = name_of("127.0.0.1", 7002);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(bind(fd, (void *)&far.at, far.len) && errno == EADDRNOTAVAIL);
	MUST(!bind(fd, (void *)&lo.at, lo.len));
	MUST(connect(fd, (void *)&far.at, far.len) && errno == EINVAL);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(connect(fd, (void *)&nobody.at, nobody.len) && errno == ECONNREFUSED);
	close(fd);
}

static void talk(const char *own)
{
	const char *names[] = {"127.0.0.1", "127.4.3.2", "::1", own};

	for (int i = 0; i < 4; i++) {
		over_tcp(names[i]);
		over_udp(names[i]);
	}
	refusals();
	puts("ok");
}

static int get_option(int fd, int level, int name)
{
	int n = -1;
	socklen_t len = sizeof(n);

	MUST(!getsockopt(fd, level, name, &n, &len) && len == sizeof(n));
	return n;
}

static int set_option(int fd, int level, int name, int n)
{
	return setsockopt(fd, level, name, &n, sizeof(n));
}

static int listener_at(const struct name *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(fd >= 0 && !set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1));
	MUST(!bind(fd, (const void *)&at->at, at->len) && !listen(fd, 4));
	return fd;
}

static void options(void)
{
	struct name at = name_of("127.0.0.1", 7010);
	int l = listener_at(&at), c = socket(AF_INET, SOCK_STREAM, 0), s, left = -1;
	struct linger linger = {.l_onoff = 1, .l_linger = 7};
	struct tcp_info info;
	char text[16], byte;
	socklen_t len = sizeof(text);

	MUST(!set_option(l, SOL_SOCKET, SO_KEEPALIVE, 1));
	MUST(!set_option(l, IPPROTO_TCP, TCP_NODELAY, 1));
	MUST(!set_option(l, IPPROTO_TCP, TCP_KEEPIDLE, 77));
	MUST(!set_option(l, IPPROTO_TCP, TCP_KEEPINTVL, 8));
	MUST(!set_option(l, IPPROTO_TCP, TCP_KEEPCNT, 9));
	MUST(set_option(l, IPPROTO_TCP, TCP_KEEPCNT, 128) && errno == EINVAL);
	MUST(!set_option(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0));
	MUST(!set_option(l, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345));
	MUST(set_option(l, IPPROTO_TCP, TCP_USER_TIMEOUT, -1) && errno == EINVAL);
	MUST(!setsockopt(c, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	MUST(!set_option(c, IPPROTO_IP, IP_TOS, 0x10));
	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	MUST(get_option(l, SOL_SOCKET, SO_ACCEPTCONN) == 1);
	MUST(get_option(s, SOL_SOCKET, SO_ACCEPTCONN) == 0);
	MUST(get_option(s, SOL_SOCKET, SO_KEEPALIVE) == 1);
	MUST(get_option(s, IPPROTO_TCP, TCP_NODELAY) == 1);
	MUST(get_option(s, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
	MUST(get_option(s, IPPROTO_TCP, TCP_KEEPINTVL) == 8);
	MUST(get_option(s, IPPROTO_TCP, TCP_KEEPCNT) == 9);
	MUST(get_option(s, IPPROTO_TCP, TCP_MAXSEG) > 500);
	MUST(get_option(s, IPPROTO_TCP, TCP_USER_TIMEOUT) == 12345);
	MUST(get_option(c, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
	MUST(get_option(c, IPPROTO_TCP, TCP_NODELAY) == 0);
	MUST(get_option(c, IPPROTO_IP, IP_TOS) == 0x10);
	MUST(get_option(c, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
	MUST(!getsockopt(c, IPPROTO_TCP, TCP_CONGESTION, text, &len) && text[0]);
	MUST(!setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, text, (socklen_t)strlen(text)));
	MUST(setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "none", 4) && errno == ENOENT);
	memset(&linger, 0, sizeof(linger));
	len = sizeof(linger);
	MUST(!getsockopt(c, SOL_SOCKET, SO_LINGER, &linger, &len) && linger.l_linger == 7);
	len = sizeof(info);
	MUST(!getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &len) &&
	     info.tcpi_state == TCP_ESTABLISHED);
	MUST(info.tcpi_snd_mss && info.tcpi_snd_cwnd);
	MUST(write(c, "abc", 3) == 3 && recv(s, &byte, 1, MSG_PEEK) == 1);
	MUST(!ioctl(s, FIONREAD, &left) && left == 3);
	MUST(!ioctl(s, TIOCOUTQ, &left) && left == 0);

	// The port of a connection that is left may be listened on again.
	close(l);
	l = listener_at(&at);
	close(l);
	MUST(read(s, text, 3) == 3);
	close(s);
	close(c);
	puts("ok");
}

// Sends all that goes without waiting.
static void fill(int fd)
{
	static const char zeros[65536];

	while (send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		;
	MUST(errno == EAGAIN);
}

static int unread(int fd)
{
	int n = -1;

	MUST(!ioctl(fd, FIONREAD, &n));
	return n;
}

// What waits unread at the end of a connection whose listener, if `bytes`, said how much that may be, when the first
// window has been used up.
static int waits_unread(int bytes, int least)
{
	static char into[65536];
	struct name at = name_of("127.0.0.1", 7012);
	int l = listener_at(&at), c = socket(AF_INET, SOCK_STREAM, 0), s, n;

	MUST(!bytes || !set_option(l, SOL_SOCKET, SO_RCVBUF, bytes));
	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	MUST(get_option(s, SOL_SOCKET, SO_RCVBUF) >= bytes);
	for (int done = 0; done < 300000; done += n) {
		fill(c);
		MUST((n = (int)read(s, into, sizeof(into))) > 0);
	}
	fill(c);
	while (unread(s) < least)
		usleep(1000);
	usleep(300000);
	n = unread(s);
	close(s);
	close(c);
	close(l);
	return n;
}

static void window(void)
{
	MUST(waits_unread(0, 40000) >= 40000);
	MUST(waits_unread(16384, 8000) <= 32768);
	puts("ok");
}

// The peer is there and acknowledges, but reads nothing: what waits for its window waits so long and no longer.
static void stuck(void)
{
	static const char zeros[65536];
	struct name at = name_of("127.0.0.1", 7011);
	int l = listener_at(&at), c = socket(AF_INET, SOCK_STREAM, 0), s;
	struct timespec from, to;
	char byte;

	MUST(!set_option(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 1500));
	clock_gettime(CLOCK_MONOTONIC, &from);
	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	while (send(c, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
		;
	MUST(errno == ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &to);
	MUST((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 1500);
	MUST(send(c, zeros, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
	MUST(read(s, &byte, 1) == 1 && !byte);
	close(s);
	close(c);
	close(l);
	puts("ok");
}

// What a program holds back goes when there is no room for more (TCP_CORK, MSG_MORE).
static void cork(void)
{
	static const char zeros[65536];
	struct name at = name_of("127.0.0.1", 7012);
	int l = listener_at(&at);

	for (int corked = 0; corked < 2; corked++) {
		int c = socket(AF_INET, SOCK_STREAM, 0), s;
		struct pollfd p;

		MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
		MUST(!set_option(c, IPPROTO_TCP, TCP_CORK, corked));
		while (send(c, zeros, sizeof(zeros), MSG_DONTWAIT | (corked ? 0 : MSG_MORE)) > 0)
			;
		MUST(errno == EAGAIN);
		p = (struct pollfd){.fd = s, .events = POLLIN};
		MUST(poll(&p, 1, 0) == 1); // no tick of a timer is waited for
		close(c);
		close(s);
	}
	close(l);
	puts("ok");
}

// What is looked at is all that has come, in as many pieces as it did.
static void peek(void)
{
	struct name at = name_of("127.0.0.1", 7013);
	int l = listener_at(&at), c = socket(AF_INET, SOCK_STREAM, 0), s, n = 0;
	char bytes[64];

	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	MUST(!set_option(c, IPPROTO_TCP, TCP_NODELAY, 1));
	for (char piece = 'a'; piece < 'i'; piece++)
		MUST(send(c, &piece, 1, 0) == 1);
	while (n < 8)
		MUST(!ioctl(s, FIONREAD, &n));
	MUST(read(s, bytes, 1) == 1);
	MUST(recv(s, bytes, sizeof(bytes), MSG_PEEK) == 7 && !memcmp(bytes, "bcdefgh", 7));
	MUST(recv(s, bytes, 3, MSG_PEEK) == 3 && !memcmp(bytes, "bcd", 3));
	MUST(recv(s, bytes, sizeof(bytes), 0) == 7 && !memcmp(bytes, "bcdefgh", 7));
	MUST(recv(s, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN);
	close(s);
	close(c);
	close(l);
	puts("ok");
}

// A length beyond all memory moves what there is, and touches nothing else; no call moves more than 2 GB anyway.
static void lengths(void)
{
	struct name at = name_of("127.0.0.1", 7015);
	int l = listener_at(&at), c = socket(AF_INET, SOCK_STREAM, 0),
	    u = socket(AF_INET, SOCK_DGRAM, 0), s;
	size_t room = 128 << 10, huge = SIZE_MAX - 8;
	char *mine =
		 mmap(NULL, 2 * room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *theirs = malloc(room);
	ssize_t sent, n;

	MUST(mine != MAP_FAILED && theirs && !munmap(mine + room, room));
	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	memset(mine, 'm', room);
	sent = send(c, mine, huge, 0);
	MUST(sent > 0 && sent <= (ssize_t)room);
	for (ssize_t got = 0; got < sent; got += n)
		MUST((n = recv(s, theirs + got, huge, 0)) > 0 && n <= sent - got);
	MUST(!memcmp(mine, theirs, (size_t)sent));
	MUST(sendto(u, mine, huge, 0, (void *)&at.at, at.len) == -1 && errno == EMSGSIZE);
	close(u);
	close(s);
	close(c);
	close(l);
	puts("ok");
}

// A connection that was refused may be asked for again, with the same socket.
static void again(void)
{
	struct name at = name_of("127.0.0.1", 7014);
	int c = socket(AF_INET, SOCK_STREAM, 0),
	    d = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = {.fd = d, .events = POLLOUT};
	int l, s;

	MUST(connect(c, (void *)&at.at, at.len) == -1 && errno == ECONNREFUSED);
	MUST(connect(c, (void *)&at.at, at.len) == -1 && errno == ECONNREFUSED);
	MUST(connect(d, (void *)&at.at, at.len) == -1 && errno == EINPROGRESS);
	MUST(poll(&p, 1, -1) == 1 && p.revents & POLLERR);
	MUST(connect(d, (void *)&at.at, at.len) == -1 && errno == ECONNREFUSED);
	l = listener_at(&at);
	MUST(!connect(c, (void *)&at.at, at.len) && (s = accept(l, NULL, NULL)) >= 0);
	MUST(connect(c, (void *)&at.at, at.len) == -1 && errno == EISCONN);
	close(s);
	MUST(connect(d, (void *)&at.at, at.len) == -1 && errno == EINPROGRESS);
	MUST(poll(&p, 1, -1) == 1 && p.revents == POLLOUT && (s = accept(l, NULL, NULL)) >= 0);
	MUST(write(s, "x", 1) == 1 &&
	     poll(&(struct pollfd){.fd = d, .events = POLLIN}, 1, -1) == 1);
	MUST(read(d, &(char){0}, 1) == 1);
	close(s);
	close(d);
	close(c);
	close(l);
	puts("ok");
}

static void put(const char *file, const char *path)
{
	struct name to = name_of("127.0.0.1", 80);
	int fd = socket(AF_INET, SOCK_STREAM, 0), from = open(file, O_RDONLY);
	char line[1024];
	struct stat st;
	ssize_t n;

	MUST(from >= 0 && !fstat(from, &st) && !connect(fd, (void *)&to.at, to.len));
	n = snprintf(
	    line, sizeof(line),
	    "PUT %s HTTP/1.1\r\nHost: me\r\nContent-Length: %lld\r\nConnection: close\r\n\r\n",
	    path, (long long)st.st_size);
	MUST(send(fd, line, (size_t)n, MSG_MORE) == n);
	for (off_t at = 0; at < st.st_size;)
		MUST(sendfile(fd, from, &at, (size_t)(st.st_size - at)) > 0);
	n = read(fd, line, sizeof(line) - 1);
	MUST(n > 0);
	line[n] = 0;
	printf("%.*s\n", (int)strcspn(line, "\r\n"), line);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "talk"))
		talk(argv[2]);
	else if (argc == 2 && !strcmp(argv[1], "options"))
		options();
	else if (argc == 2 && !strcmp(argv[1], "window"))
		window();
	else if (argc == 2 && !strcmp(argv[1], "stuck"))
		stuck();
	else if (argc == 2 && !strcmp(argv[1], "cork"))
		cork();
	else if (argc == 2 && !strcmp(argv[1], "peek"))
		peek();
	else if (argc == 2 && !strcmp(argv[1], "lengths"))
		lengths();
	else if (argc == 2 && !strcmp(argv[1], "again"))
		again();
	else if (argc == 4 && !strcmp(argv[1], "put"))
		put(argv[2], argv[3]);
	else
		return 64;
	return 0;
}
