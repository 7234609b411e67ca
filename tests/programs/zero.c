// SPDX-License-Identifier: BSD-2-Clause
// zero send ADDRESS PORT BYTES   connects, and when a byte has come sends that many by MSG_ZEROCOPY; each buffer is
//                                written over as soon as the call is back. Then takes all notices, and waits for
//                                another byte. "ok", or what went wrong.
// zero leave ADDRESS PORT        sends what goes without waiting, writes over it and ends: "N bytes"
// zero splice ADDRESS PORT FILE  as send, with a file through a pipe
// zero pipe FILE                 pages of a file and bytes through a pipe. "ok"
// zero serve PORT                one connection: answers a line with a page, and writes over it
// Byte n of what is sent is (n * 7 + n / 4096) % 251.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#define ORIGIN_ZEROCOPY 5
struct sock_extended_err { // linux/errqueue.h
	uint32_t ee_errno;
	uint8_t ee_origin, ee_type, ee_code, ee_pad;
	uint32_t ee_info, ee_data;
};
#define BUFFER (256 * 1024)

static uint8_t *buffer;
static uint32_t told; // the next notice is for this send

static void fill(uint64_t from, size_t bytes)
{
	for (size_t n = 0; n < bytes; n++)
		buffer[n] = (uint8_t)(((from + n) * 7 + (from + n) / 4096) % 251);
}

static int zerocopy_socket(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	MUST(fd >= 0 && !connect(fd, (void *)&to, sizeof(to)));
	MUST(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	return fd;
}

// One notice, if there is one.
static int take_notice(int fd)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(struct sock_extended_err) +
				      sizeof(struct sockaddr_in))];
	} control;
	struct msghdr h = {.msg_control = &control, .msg_controllen = sizeof(control)};
	struct sock_extended_err e;

	if (recvmsg(fd, &h, MSG_ERRQUEUE) < 0) {
		MUST(errno == EAGAIN);
		return 0;
	}
	MUST(h.msg_flags == MSG_ERRQUEUE && control.h.cmsg_level == IPPROTO_IP);
	MUST(control.h.cmsg_type == IP_RECVERR);
	memcpy(&e, CMSG_DATA(&control.h), sizeof(e));
	MUST(e.ee_origin == ORIGIN_ZEROCOPY && !e.ee_errno && !e.ee_code);
	MUST(e.ee_info == told && e.ee_data >= e.ee_info);
	told = e.ee_data + 1;
	return 1;
}

static void send_all(const char *address, int port, uint64_t bytes)
{
	int fd = zerocopy_socket(address, port);
	struct pollfd p = {.fd = fd};
	uint32_t sends = 0;
	char byte;

	MUST(read(fd, &byte, 1) == 1);
	for (uint64_t at = 0; at < bytes; sends++) {
		size_t n = bytes - at < BUFFER ? (size_t)(bytes - at) : BUFFER;

		fill(at, n);
		MUST(send(fd, buffer, n, MSG_ZEROCOPY) == (ssize_t)n);
		memset(buffer, 0xee, BUFFER);
		at += n;
	}
	while (told != sends) {
		MUST(poll(&p, 1, -1) == 1 && p.revents & POLLERR);
		while (take_notice(fd))
			;
	}
	MUST(send(fd, "", 0, MSG_ZEROCOPY) == 0 && !take_notice(fd));
	MUST(read(fd, &byte, 1) == 1);
	printf("ok\n");
}

static void splice_file(const char *address, int port, const char *path)
{
	int fd = zerocopy_socket(address, port), file = open(path, O_RDONLY), ends[2];
	ssize_t in, out;
	char byte;

	MUST(file >= 0 && !pipe(ends) && read(fd, &byte, 1) == 1);
	while ((in = splice(file, NULL, ends[1], NULL, 1 << 20, SPLICE_F_MOVE)) > 0)
		for (; in; in -= out)
			MUST((out = splice(ends[0], NULL, fd, NULL, (size_t)in, SPLICE_F_MOVE)) >
			     0);
	MUST(!in && read(fd, &byte, 1) == 1);
	printf("ok\n");
}

// What a pipe gives is what was put in, however it was.
static void through_a_pipe(const char *path)
{
	static char want[8192], got[8192];
	int file = open(path, O_RDONLY), ends[2], null = open("/dev/null", O_WRONLY);
	off_t at = 1000;

	MUST(file >= 0 && !pipe2(ends, O_NONBLOCK));
	MUST(splice(ends[0], NULL, null, NULL, 10, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	MUST(splice(file, NULL, null, NULL, 10, 0) == -1 && errno == EINVAL);
	for (int round = 0; round < 100; round++) {
		size_t n = 1 + (size_t)round * 37 % 3000;
		off_t from = at;

		MUST(write(ends[1], "before", 6) == 6);
		MUST(splice(file, &at, ends[1], NULL, n, 0) == (ssize_t)n && at == from + (off_t)n);
		MUST(write(ends[1], "behind", 6) == 6);
		memcpy(want, "before", 6);
		MUST(pread(file, want + 6, n, from) == (ssize_t)n);
		memcpy(want + 6 + n, "behind", 6);
		MUST(read(ends[0], got, sizeof(got)) == (ssize_t)n + 12);
		MUST(!memcmp(got, want, n + 12));
	}
	while (splice(file, &at, ends[1], NULL, 100, SPLICE_F_NONBLOCK) > 0)
		;
	MUST(errno == EAGAIN && write(ends[1], "x", 1) == -1 && errno == EAGAIN);
	MUST(splice(ends[0], NULL, null, NULL, 1 << 20, 0) > 0);
	MUST(splice(file, &at, ends[1], NULL, 100, 0) == 100); // unread at the end
	printf("ok\n");
}

static void leave(const char *address, int port)
{
	int fd = zerocopy_socket(address, port);
	uint64_t at = 0;
	ssize_t n;

	fill(0, BUFFER);
	while (at < BUFFER &&
	       (n = send(fd, buffer + at, BUFFER - at, MSG_ZEROCOPY | MSG_DONTWAIT)) > 0)
		at += (uint64_t)n;
	memset(buffer, 0xee, BUFFER);
	printf("%llu bytes\n", (unsigned long long)at);
}

static void serve(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	char line[100];

	MUST(!bind(listener, (void *)&at, sizeof(at)) && !listen(listener, 4));
	fd = accept(listener, NULL, NULL);
	MUST(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	MUST(read(fd, line, sizeof(line)) > 0);
	fill(0, 1000);
	MUST(send(fd, buffer, 1000, MSG_ZEROCOPY) == 1000);
	memset(buffer, 0xee, BUFFER);
	MUST(read(fd, line, sizeof(line)) == 0);
}

int main(int argc, char **argv)
{
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (argc == 5 && !strcmp(argv[1], "send"))
		send_all(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 0));
	else if (argc == 4 && !strcmp(argv[1], "leave"))
		leave(argv[2], atoi(argv[3]));
	else if (argc == 5 && !strcmp(argv[1], "splice"))
		splice_file(argv[2], atoi(argv[3]), argv[4]);
	else if (argc == 3 && !strcmp(argv[1], "pipe"))
		through_a_pipe(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	else
		return 64;
	return 0;
}
