// SPDX-License-Identifier: BSD-2-Clause
// reuse: who may bind and listen where somebody is already (SO_REUSEADDR, SO_REUSEPORT), and how several listeners
// share a port. Runs on Linux, too. "ok", or what went wrong.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

#define MEMBERS 3
#define CLIENTS 96 // chance that a member gets none of them: (2/3)^96

enum { ADDRESS = 1, PORT = 2 };

static struct sockaddr_in place(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int bound(int type, int share, int port)
{
	struct sockaddr_in at = place(port);
	int on = 1, fd = socket(AF_INET, type, 0);

	MUST(fd >= 0);
	MUST(!(share & ADDRESS) || !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	MUST(!(share & PORT) || !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
	if (!bind(fd, (void *)&at, sizeof(at)))
		return fd;
	MUST(errno == EADDRINUSE);
	close(fd);
	return -1;
}

static int port_of(int fd)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	MUST(!getsockname(fd, (void *)&at, &len));
	return ntohs(at.sin_port);
}

// Whether a second socket may be bound (and listen, if both do).
static bool may(int type, int first, int second, bool listens)
{
	int a = bound(type, first, 0), b;

	MUST(a >= 0);
	MUST(!listens || !listen(a, 1));
	b = bound(type, second, port_of(a));
	if (b >= 0)
		close(b);
	close(a);
	return b >= 0;
}

static void rules(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	int a, b;

	for (int n = 0; n < 2; n++) {
		MUST(!may(types[n], 0, 0, false) && !may(types[n], 0, PORT, false));
		MUST(!may(types[n], PORT, 0, false) && !may(types[n], ADDRESS, PORT, false));
		MUST(may(types[n], PORT, PORT, false) && may(types[n], ADDRESS, ADDRESS, false));
		MUST(may(types[n], PORT | ADDRESS, PORT, false));
	}
	MUST(!may(SOCK_STREAM, ADDRESS, ADDRESS, true) && may(SOCK_STREAM, PORT, PORT, true));
	a = bound(SOCK_STREAM, ADDRESS, 0);
	b = bound(SOCK_STREAM, ADDRESS, port_of(a));
	MUST(b >= 0 && !listen(a, 1) && listen(b, 1) == -1 && errno == EADDRINUSE);
	close(a);
	MUST(!listen(b, 1));
	close(b);
}

static int client(int type, int port)
{
	struct sockaddr_in at = place(port);
	int fd = socket(AF_INET, type, 0);

	MUST(fd >= 0 && !connect(fd, (void *)&at, sizeof(at)));
	return fd;
}

static bool ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void answer(int member, int n)
{
	int fd = accept(member, NULL, NULL);

	MUST(fd >= 0 && write(fd, &"abc"[n], 1) == 1);
	close(fd);
}

// Takes what waits at the members, answers each with the member's letter; how many there were.
static int take_all(const int member[], int seen[], int wanted)
{
	int taken = 0;
	struct pollfd p[MEMBERS];

	while (taken < wanted) {
		for (int n = 0; n < MEMBERS; n++)
			p[n] = (struct pollfd){.fd = member[n], .events = POLLIN};
		MUST(poll(p, MEMBERS, -1) > 0);
		for (int n = 0; n < MEMBERS; n++) {
			if (!(p[n].revents & POLLIN))
				continue;
			answer(member[n], n);
			seen[n]++;
			taken++;
		}
	}
	return taken;
}

static void listeners(void)
{
	int member[MEMBERS], fd[CLIENTS], seen[MEMBERS] = {0}, port, resets = 0, served = 0;
	char letter;

	member[0] = bound(SOCK_STREAM, PORT, 0);
	port = port_of(member[0]);
	for (int n = 1; n < MEMBERS; n++)
		MUST((member[n] = bound(SOCK_STREAM, PORT, port)) >= 0);
	for (int n = 0; n < MEMBERS; n++)
		MUST(!listen(member[n], CLIENTS) && port_of(member[n]) == port);
	for (int n = 0; n < CLIENTS; n++)
		fd[n] = client(SOCK_STREAM, port);
	take_all(member, seen, CLIENTS);
	MUST(seen[0] && seen[1] && seen[2]);
	for (int n = 0; n < CLIENTS; n++) {
		MUST(read(fd[n], &letter, 1) == 1 && letter >= 'a' && letter <= 'c');
		close(fd[n]);
	}

	// What waits at one that is closed, is reset; the others' clients are served, and who comes then.
	for (int n = 0; n < CLIENTS; n++)
		fd[n] = client(SOCK_STREAM, port);
	for (int n = 0; n < MEMBERS; n++)
		while (!ready(member[n]))
			usleep(1000);
	close(member[1]);
	member[1] = -1;
	while (served + resets < CLIENTS) { // the resets take their way, too
		for (int n = 0; n < MEMBERS; n++)
			if (member[n] >= 0 && ready(member[n]))
				answer(member[n], n);
		for (int n = 0; n < CLIENTS; n++) {
			ssize_t got;

			if (fd[n] < 0 || !ready(fd[n]))
				continue;
			got = read(fd[n], &letter, 1);
			MUST(got == 1 ? letter != 'b' : got == -1 && errno == ECONNRESET);
			got == 1 ? served++ : resets++;
			close(fd[n]);
			fd[n] = -1;
		}
	}
	MUST(served > 0 && resets > 0);
	close(fd[0] = client(SOCK_STREAM, port));
	close(member[0]);
	close(member[2]);
}

static void datagrams(void)
{
	int member[MEMBERS], fd[CLIENTS], got[CLIENTS], n, m, again, whole = 0, seen[MEMBERS] = {0};
	unsigned char which;
	struct pollfd p[MEMBERS];

	member[0] = bound(SOCK_DGRAM, PORT, 0);
	for (n = 1; n < MEMBERS; n++)
		MUST((member[n] = bound(SOCK_DGRAM, PORT, port_of(member[0]))) >= 0);
	for (n = 0; n < CLIENTS; n++) {
		fd[n] = client(SOCK_DGRAM, port_of(member[0]));
		got[n] = -1;
	}
	for (again = 0; again < 3; again++) { // a peer's go to one
		for (n = 0; n < CLIENTS; n++) {
			which = (unsigned char)n;
			MUST(write(fd[n], &which, 1) == 1);
			for (m = 0; m < MEMBERS; m++)
				p[m] = (struct pollfd){.fd = member[m], .events = POLLIN};
			MUST(poll(p, MEMBERS, -1) == 1);
			for (m = 0; !p[m].revents; m++)
				;
			MUST(read(member[m], &which, 1) == 1 && which == n);
			MUST(got[n] == -1 || got[n] == m);
			got[n] = m;
			seen[m]++;
			whole++;
		}
	}
	MUST(whole == 3 * CLIENTS && seen[0] && seen[1] && seen[2]);
	for (n = 0; n < CLIENTS; n++)
		close(fd[n]);
	for (n = 0; n < MEMBERS; n++)
		close(member[n]);
}

int main(void)
{
	rules();
	listeners();
	datagrams();
	puts("ok");
	return 0;
}
