// SPDX-License-Identifier: BSD-2-Clause
// pipes DIRECTORY                tee, vmsplice, and splice from pipe to pipe and from a socket; runs on Linux, too.
// "ok" pipes relay PORT ADDRESS PORT  takes one connection and passes what comes on, through a pipe: "N bytes"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE		   4096
#define BULK		   (1 << 20)
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static char page[16 * PAGE] __attribute__((aligned(PAGE))), seen[16 * PAGE];

static char letter(size_t at)
{
	return (char)('a' + at * 7 % 26 + at / 4096 % 3);
}

// What lies in the pipe next.
static int holds(int fd, const char *text)
{
	size_t bytes = strlen(text);

	memset(seen, 0, bytes + 1);
	return read(fd, seen, bytes) == (ssize_t)bytes && !memcmp(seen, text, bytes);
}

static int empty(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

static void errors(int a[2], int b[2], int null)
{
	struct iovec part = {page, 4};

	MUST(FAILS(tee(a[0], a[1], 1, 0), EINVAL) && FAILS(tee(a[0], null, 1, 0), EINVAL));
	MUST(FAILS(tee(a[0], b[1], 1, 64), EINVAL) && FAILS(tee(-1, b[1], 1, 0), EBADF));
	MUST(tee(a[0], b[1], 0, 0) == 0 && FAILS(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK), EAGAIN));
	MUST(FAILS(splice(a[0], NULL, a[1], NULL, 1, 0), EINVAL));
	MUST(FAILS(splice(a[0], NULL, b[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN));
	MUST(FAILS(vmsplice(null, &part, 1, 0), EBADF) &&
	     FAILS(vmsplice(a[1], &part, 1, 64), EINVAL));
	MUST(FAILS(vmsplice(a[1], &part, 2000, 0), EINVAL) && vmsplice(a[1], &part, 0, 0) == 0);
	part.iov_base = (void *)8;
	MUST(FAILS(vmsplice(a[1], &part, 1, 0), EFAULT) && empty(a[0]));
}

static void between_pipes(void)
{
	int a[2], b[2], null = open("/dev/null", O_RDWR),
			file = open("bytes", O_RDWR | O_CREAT | O_TRUNC, 0644);
	struct iovec part = {page, 0};
	loff_t at = 10;

	MUST(!pipe(a) && !pipe(b) && null >= 0 && file >= 0);
	errors(a, b, null);
	MUST(write(a[1], "some text", 9) == 9 && tee(a[0], b[1], 4, 0) == 4 &&
	     tee(a[0], b[1], 100, 0) == 9);
	MUST(holds(b[0], "somesome text") && holds(a[0], "some text") && empty(a[0]) &&
	     empty(b[0]));
	MUST(write(a[1], "to be moved", 11) == 11 && splice(a[0], NULL, b[1], NULL, 5, 0) == 5);
	MUST(holds(b[0], "to be") && holds(a[0], " moved"));
	// Pages of a file, bytes and pages of the program's, in one pipe: by tee, by splice, and read.
	MUST(write(file, "0123456789the file's page", 25) == 25);
	MUST(write(a[1], "<", 1) == 1 && splice(file, &at, a[1], NULL, 15, 0) == 15);
	memcpy(page + PAGE - 3, "user's", 6);
	part = (struct iovec){page + PAGE - 3, 6};
	MUST(vmsplice(a[1], &part, 1, 0) == 6 && write(a[1], ">", 1) == 1);
	MUST(tee(a[0], b[1], 1 << 20, 0) == 23 && tee(a[0], b[1], 3, 0) == 3);
	MUST(splice(a[0], NULL, b[1], NULL, 1 << 20, 0) == 23 && empty(a[0]));
	MUST(holds(b[0], "<the file's pageuser's><th<the file's pageuser's>") && empty(b[0]));
	// From the program's pages into a file, and out of a pipe into the program.
	for (size_t n = 0; n < sizeof(page); n++)
		page[n] = letter(n);
	part = (struct iovec){page + 100, 5 * PAGE};
	MUST(vmsplice(a[1], &part, 1, SPLICE_F_GIFT) == 5 * PAGE);
	MUST(splice(a[0], NULL, file, &(loff_t){0}, 5 * PAGE, 0) == 5 * PAGE);
	MUST(pread(file, seen, sizeof(seen), 0) == 5 * PAGE && !memcmp(seen, page + 100, 5 * PAGE));
	MUST(write(a[1], "back", 4) == 4);
	part = (struct iovec){seen, 10};
	MUST(vmsplice(a[0], &part, 1, 0) == 4 && !memcmp(seen, "back", 4));
	// A full one, and one whose other end is gone.
	part = (struct iovec){page, sizeof(page)};
	while (vmsplice(b[1], &part, 1, SPLICE_F_NONBLOCK) > 0)
		;
	MUST(errno == EAGAIN && write(a[1], "x", 1) == 1 &&
	     FAILS(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK), EAGAIN));
	signal(SIGPIPE, SIG_IGN);
	close(b[0]);
	MUST(FAILS(tee(a[0], b[1], 1, 0), EPIPE) && FAILS(vmsplice(b[1], &part, 1, 0), EPIPE));
	close(b[1]), close(a[1]);
	MUST(holds(a[0], "x") && !pipe(b) && tee(a[0], b[1], 1, 0) == 0 &&
	     splice(a[0], NULL, b[1], NULL, 1, 0) == 0);
	close(a[0]), close(b[0]), close(b[1]), close(file), close(null);
}

static struct sockaddr_in place(const char *address, int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, address, &at.sin_addr);
	return at;
}

// All that comes at one end, through a pipe, to the other. How much it was.
static size_t pass_on(int from, int to)
{
	size_t all = 0;
	ssize_t in, out;
	int ends[2];

	MUST(!pipe(ends));
	while ((in = splice(from, NULL, ends[1], NULL, 1 << 20, SPLICE_F_MOVE)) > 0)
		for (all += (size_t)in; in; in -= out)
			MUST((out = splice(ends[0], NULL, to, NULL, (size_t)in, SPLICE_F_MOVE)) >
			     0);
	MUST(!in);
	close(ends[0]), close(ends[1]);
	return all;
}

// A child sends; what comes is passed on to a second connection, and into a file.
static void from_sockets(void)
{
	static char bulk[BULK], got[BULK];
	struct sockaddr_in at = place("127.0.0.1", 0);
	int listener = socket(AF_INET, SOCK_STREAM, 0),
	    file = open("came", O_RDWR | O_CREAT | O_TRUNC, 0644), status;
	socklen_t len = sizeof(at);
	pid_t pid[2];
	int in, out, end;

	for (size_t n = 0; n < BULK; n++)
		bulk[n] = letter(n);
	MUST(!bind(listener, (void *)&at, len) && !listen(listener, 4) &&
	     !getsockname(listener, (void *)&at, &len));
	for (int n = 0; n < 2; n++)
		if (!(pid[n] = fork())) { // sends, and what comes back is to be the same
			int fd = socket(AF_INET, SOCK_STREAM, 0);

			MUST(!connect(fd, (void *)&at, sizeof(at)) &&
			     write(fd, bulk, BULK) == BULK);
			MUST(!shutdown(fd, SHUT_WR) &&
			     recv(fd, got, BULK, MSG_WAITALL) == (n ? 0 : BULK));
			exit(n ? 0 : memcmp(got, bulk, BULK) != 0);
		} else {
			in = accept(listener, NULL, NULL);
			out = n ? file : socket(AF_INET, SOCK_STREAM, 0);
			end = n ? file
				: (connect(out, (void *)&at, len), accept(listener, NULL, NULL));
			if (!n && !fork()) { // reads what is passed on, and says it back
				close(out);
				_exit(pass_on(end, in) != BULK);
			}
			if (!n)
				close(end);
			MUST(in >= 0 && pass_on(in, out) == BULK);
			close(in), close(out);
			MUST(waitpid(pid[n], &status, 0) == pid[n] && !status);
		}
	MUST(wait(&status) > 0 && !status);
	file = open("came", O_RDONLY);
	MUST(read(file, got, BULK) == BULK && !memcmp(got, bulk, BULK));
	close(file), close(listener);
}

static void relay(int port, const char *address, int to_port)
{
	struct sockaddr_in at = place("0.0.0.0", port), to = place(address, to_port);
	int listener = socket(AF_INET, SOCK_STREAM, 0), in, out = socket(AF_INET, SOCK_STREAM, 0);

	MUST(!bind(listener, (void *)&at, sizeof(at)) && !listen(listener, 1));
	in = accept(listener, NULL, NULL);
	MUST(in >= 0 && !connect(out, (void *)&to, sizeof(to)));
	printf("%zu bytes\n", pass_on(in, out));
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "relay")) {
		relay(atoi(argv[2]), argv[3], atoi(argv[4]));
		return 0;
	}
	MUST(argc == 2 && !chdir(argv[1]));
	between_pipes();
	from_sockets();
	puts("ok");
	return 0;
}
