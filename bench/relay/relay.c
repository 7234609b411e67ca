// SPDX-License-Identifier: BSD-2-Clause
// A path between two ends: each frame is held back for half a round trip, and some are lost, by a seed. It loses none
// of its own: where a direction's memory is full, it takes no more from the end that fills it (the tap device's
// queue or QEMU then holds them back), so that what is measured through it is what the two stacks do.
//
//     relay END END LATENCY LOSS SEED        seconds of each direction, part of the frames, a number
//
// An END is the name of a tap device, or the path of a UNIX socket on which QEMU listens (-netdev stream,server=on:
// frames with their length in four bytes before them). Which frames are lost depends on the seed and on their
// number alone. Prints "ready"; on SIGUSR1, and at its end on SIGTERM, what it did: frames and drop of both directions,
// most: the most bytes that ever waited in one, and late: by how many microseconds, at most, a frame left later than it
// should have, since this was last asked. A wire does not wait for a processor: if it may, it runs ahead of all others.
//
// tests/e2e/relay.py does more kinds of harm, and fewer frames a second. Runs on the measuring machine.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MOST 65536
#define MEMORY	   (256u << 20) // of a direction: two seconds at a gigabit
#define BATCH	   64		// frames taken, or given, before the other direction has its turn
#define WAIT_MS	   10000	// for QEMU to listen

// A frame that waits; its bytes follow, and the next frame behind them.
struct held {
	uint64_t due;	       // ns
	uint32_t bytes, given; // of length and frame; given: of them, to a stream that took a part
};

struct end {
	int fd;
	bool stream;
	uint32_t have; // bytes of `in`, a stream's
	uint8_t in[2 * FRAME_MOST];
};

// One direction. A ring without wrapped frames: where one does not fit at the end, it begins again at 0.
struct lane {
	struct end *from, *to;
	uint64_t random, frames, dropped, most, late; // late: ns
	uint8_t *memory;
	uint64_t first, last,
	    end; // offsets; last < first: wrapped, and frames up to `end` come first
	uint64_t bytes;
	bool blocked; // `to` took nothing more
};

static struct end ends[2];
static struct lane lanes[2];
static uint64_t latency, loss; // ns; of 2^32
static volatile sig_atomic_t finish, asked;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// xorshift64*, Vigna 2016.
static uint32_t draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1d >> 32);
}

// ---- what waits -----------------------------------------------------------------------------------------

static uint64_t room_of(uint32_t bytes)
{
	return (sizeof(struct held) + bytes + 7) & ~7ull;
}

static bool has_room(const struct lane *lane)
{
	uint64_t need = room_of(FRAME_MOST + 4);

	if (!lane->bytes)
		return true;
	return lane->last > lane->first ? MEMORY - lane->last >= need || lane->first > need
					: lane->first - lane->last > need;
}

// Only while has_room.
static void hold(struct lane *lane, const uint8_t *frame, uint32_t len, uint64_t now)
{
	uint32_t be = __builtin_bswap32(len);
	struct held *held;

	lane->frames++;
	if (draw(&lane->random) < loss) {
		lane->dropped++;
		return;
	}
	if (!lane->bytes)
		lane->first = lane->last = 0;
	if (lane->last >= lane->first && MEMORY - lane->last < room_of(FRAME_MOST + 4)) {
		lane->end = lane->last;
		lane->last = 0;
	}
	held = (struct held *)(void *)(lane->memory + lane->last);
	*held = (struct held){now + latency, len + 4, 0};
	memcpy(held + 1, &be, 4);
	memcpy((uint8_t *)(held + 1) + 4, frame, len);
	lane->last += room_of(held->bytes);
	lane->bytes += room_of(held->bytes);
	if (lane->bytes > lane->most)
		lane->most = lane->bytes;
}

static struct held *following(const struct lane *lane, const struct held *held)
{
	uint64_t at = (uint64_t)((const uint8_t *)held - lane->memory) + room_of(held->bytes);

	if (at == lane->last)
		return NULL;
	if (lane->last < lane->first && at == lane->end && at > lane->last)
		at = 0;
	return at == lane->last ? NULL : (struct held *)(void *)(lane->memory + at);
}

static struct held *first_of(const struct lane *lane)
{
	return lane->bytes ? (struct held *)(void *)(lane->memory + lane->first) : NULL;
}

static void done_with(struct lane *lane, const struct held *held)
{
	const struct held *next = following(lane, held);
	uint64_t late = now_ns() - held->due;

	if (late > lane->late)
		lane->late = late;

	lane->bytes -= room_of(held->bytes);
	lane->first = next ? (uint64_t)((const uint8_t *)next - lane->memory) : lane->last;
}

// ---- the ends -------------------------------------------------------------------------------------------

static void open_tap(struct end *end, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	end->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (end->fd < 0 || ioctl(end->fd, TUNSETIFF, &request) < 0)
		fail(name);
}

static void open_stream(struct end *end, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int size = 4 << 20;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	end->stream = true;
	end->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	for (unsigned ms = 0; connect(end->fd, (struct sockaddr *)&address, sizeof(address)) < 0;
	     ms += 10) {
		if (ms >= WAIT_MS)
			fail(path);
		usleep(10000);
	}
	setsockopt(end->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fcntl(end->fd, F_SETFL, O_NONBLOCK);
}

static void open_end(struct end *end, const char *name)
{
	if (strchr(name, '/'))
		open_stream(end, name);
	else
		open_tap(end, name);
}

static void take_tap(struct lane *lane)
{
	uint64_t now = now_ns();

	for (unsigned n = 0; n < BATCH && has_room(lane); n++) {
		ssize_t got = read(lane->from->fd, lane->from->in, FRAME_MOST);

		if (got <= 0) {
			if (got < 0 && errno != EAGAIN && errno != EIO) // EIO: the device is down
				fail("tap");
			return;
		}
		hold(lane, lane->from->in, (uint32_t)got, now);
	}
}

// Whole frames out of what has come; a part of one stays. False: not all found room.
static bool take_whole(struct lane *lane, uint64_t now)
{
	struct end *end = lane->from;
	uint32_t at = 0, len;
	bool all = true;

	while (end->have - at >= 4) {
		memcpy(&len, end->in + at, 4);
		len = __builtin_bswap32(len);
		if (len > FRAME_MOST) {
			fprintf(stderr, "relay: a frame of %u bytes\n", len);
			exit(1);
		}
		if (end->have - at - 4 < len)
			break;
		if (!(all = has_room(lane)))
			break;
		hold(lane, end->in + at + 4, len, now);
		at += 4 + len;
	}
	memmove(end->in, end->in + at, end->have - at);
	end->have -= at;
	return all;
}

static void take_stream(struct lane *lane)
{
	struct end *end = lane->from;
	ssize_t got;

	if (!take_whole(lane, now_ns())) // there was no room
		return;
	got = read(end->fd, end->in + end->have, sizeof(end->in) - end->have);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) { // QEMU has gone
		finish = 1;
		return;
	}
	end->have += (uint32_t)got;
	take_whole(lane, now_ns());
}

static void give_tap(struct lane *lane, uint64_t now)
{
	struct held *held;

	for (unsigned n = 0; n < BATCH && (held = first_of(lane)) && held->due <= now; n++) {
		if (write(lane->to->fd, (uint8_t *)(held + 1) + 4, held->bytes - 4) < 0 &&
		    errno == EAGAIN) {
			lane->blocked = true;
			return;
		}
		done_with(lane, held); // EIO: the device is down, as a cable that is out
	}
}

static void give_stream(struct lane *lane, uint64_t now)
{
	struct iovec parts[BATCH];
	unsigned count = 0;
	ssize_t given;

	for (struct held *h = first_of(lane); h && h->due <= now && count < BATCH;
	     h = following(lane, h))
		parts[count++] = (struct iovec){(uint8_t *)(h + 1) + h->given, h->bytes - h->given};
	if (!count)
		return;
	given = writev(lane->to->fd, parts, (int)count);
	if (given < 0) {
		lane->blocked = errno == EAGAIN;
		finish |= errno != EAGAIN;
		return;
	}
	while (given) {
		struct held *h = first_of(lane);
		uint32_t part = h->bytes - h->given;

		if (given < part) {
			h->given += (uint32_t)given;
			lane->blocked = true;
			return;
		}
		given -= part;
		done_with(lane, h);
	}
}

// ---- the whole ------------------------------------------------------------------------------------------

static void on_signal(int signal)
{
	*(signal == SIGTERM ? &finish : &asked) = 1;
}

static void tell(void)
{
	struct lane *a = &lanes[0], *b = &lanes[1];

	asked = 0;
	printf("frames=%lu drop=%lu most=%lu late=%lu\n", a->frames + b->frames,
	       a->dropped + b->dropped, a->most > b->most ? a->most : b->most,
	       (a->late > b->late ? a->late : b->late) / 1000);
	fflush(stdout);
	a->late = b->late = 0;
}

static void wait_for_work(const sigset_t *usual)
{
	struct pollfd polls[2];
	uint64_t now = now_ns(), until = UINT64_MAX;
	struct timespec wait;

	for (unsigned i = 0; i < 2; i++) {
		const struct held *first = first_of(&lanes[i]);

		polls[i] = (struct pollfd){.fd = ends[i].fd};
		if (has_room(&lanes[i]))
			polls[i].events |= POLLIN;
		if (lanes[1 - i].blocked)
			polls[i].events |= POLLOUT;
		if (first && !lanes[i].blocked && first->due < until)
			until = first->due;
	}
	until = until > now ? until - now : 0;
	wait = (struct timespec){(time_t)(until / 1000000000), (long)(until % 1000000000)};
	if (ppoll(polls, 2, first_of(&lanes[0]) || first_of(&lanes[1]) ? &wait : NULL, usual) < 0 &&
	    errno != EINTR)
		fail("poll");
	for (unsigned i = 0; i < 2; i++) {
		if (polls[i].revents & (POLLOUT | POLLERR | POLLHUP))
			lanes[1 - i].blocked = false;
		if (polls[i].revents & (POLLIN | POLLERR | POLLHUP) && has_room(&lanes[i]))
			(ends[i].stream ? take_stream : take_tap)(&lanes[i]);
	}
}

int main(int argc, char **argv)
{
	sigset_t ours, usual;

	if (argc != 6) {
		fprintf(stderr, "usage: relay END END LATENCY LOSS SEED\n");
		return 2;
	}
	prctl(PR_SET_TIMERSLACK, 1);
	signal(SIGPIPE, SIG_IGN);
	sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
	sigemptyset(&ours);
	for (unsigned i = 0; i < 2; i++) {
		int number = i ? SIGUSR1 : SIGTERM;

		sigaction(number, &(struct sigaction){.sa_handler = on_signal}, NULL);
		sigaddset(&ours, number);
	}
	sigprocmask(SIG_BLOCK, &ours, &usual);
	latency = (uint64_t)(atof(argv[3]) * 1e9);
	loss = (uint64_t)(atof(argv[4]) * 4294967296.0);
	for (unsigned i = 0; i < 2; i++) {
		open_end(&ends[i], argv[1 + i]);
		lanes[i] = (struct lane){.from = &ends[i],
					 .to = &ends[1 - i],
					 .random = (strtoull(argv[5], NULL, 10) * 2 + i + 1) *
						   0x9e3779b97f4a7c15,
					 .memory = malloc(MEMORY)};
		if (!lanes[i].memory)
			fail("memory");
	}
	puts("ready");
	fflush(stdout);
	while (!finish) {
		wait_for_work(&usual);
		for (unsigned i = 0; i < 2; i++)
			if (!lanes[i].blocked)
				(lanes[i].to->stream ? give_stream : give_tap)(&lanes[i], now_ns());
		if (asked)
			tell();
	}
	tell();
	return 0;
}
