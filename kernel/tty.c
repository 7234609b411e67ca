// SPDX-License-Identifier: BSD-2-Clause
// The line discipline (kernel/tty.h; POSIX general terminal interface; ioctl_tty(2) for the numbers).
#include "kernel/tty.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/usercopy.h"

#define INPUT_BYTES 4096 // as Linux has it: a longer line is cut
#define CCS	    19

enum { ICRNL = 0400, INLCR = 0100, IGNCR = 0200, OPOST = 1, ONLCR = 4 };
enum {
	ISIG = 1,
	ICANON = 2,
	ECHO = 010,
	ECHOE = 020,
	ECHOK = 040,
	ECHONL = 0100,
	NOFLSH = 0200,
	TOSTOP = 0400,
	ECHOCTL = 01000,
	IEXTEN = 0100000
};
enum { VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSUSP = 10, VEOL = 11, VWERASE = 14 };
enum {
	TCGETS = 0x5401,
	TCSETS,
	TCSETSW,
	TCSETSF,
	TCFLSH = 0x540b,
	TIOCSCTTY = 0x540e,
	TIOCGPGRP = 0x540f,
	TIOCSPGRP,
	TIOCGWINSZ = 0x5413,
	TIOCSWINSZ,
	FIONREAD = 0x541b,
	TIOCNOTTY = 0x5422,
	TIOCGSID = 0x5429
};

struct termios { // the kernel's, which libc translates
	uint32_t input, output, control, local;
	uint8_t line, cc[CCS];
};
_Static_assert(sizeof(struct termios) == 36, "struct termios of the Linux kernel");

struct tty {
	struct stream stream;
	struct tty *next, **link; // (lock) all that are open
};
static struct pool tty_pool =
    POOL_INIT("terminal", struct tty, 65536); // descriptors on the console
static struct spinlock lock = SPINLOCK_INIT("terminal", RANK_TERMINAL);
// The one terminal, all (lock).
static struct tty *terminals;
static struct termios settings;
static uint8_t input[INPUT_BYTES];
static uint32_t taken, ready, typed; // free-running: read so far, readable (whole lines), typed
static bool end_typed;		     // VEOF on an empty line: the next read that finds nothing ends
static int session, foreground;
static uint16_t window[4] = {25, 80, 0, 0};

static uint8_t *at(uint32_t n)
{
	return &input[n % INPUT_BYTES];
}

void tty_init(void)
{
	static const uint8_t cc[CCS] = {[VINTR] = 3, [VQUIT] = 28, [VERASE] = 127, [VKILL] = 21,
					[VEOF] = 4,  [VMIN] = 1,   [VSUSP] = 26,   [VWERASE] = 23};

	settings =
	    (struct termios){.input = ICRNL,
			     .output = OPOST | ONLCR,
			     .control = 0xbf, // 38400 baud, 8 bits, CREAD: what nobody looks at
			     .local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | IEXTEN};
	memcpy(settings.cc, cc, sizeof(cc));
}

static void notify_all(void)
{
	spin_lock_wtd(&lock);
	for (struct tty *t = terminals; t; t = t->next)
		stream_notify(&t->stream);
	spin_unlock_wtd(&lock);
}

// ---- output ----

// kprintf_emit makes CR LF of a line feed; without OPOST that is one CR too many, which no terminal minds.
static void echo_text(const char *text, size_t len)
{
	kprintf_emit(text, len);
}

static void echo(uint8_t c)
{
	char text[2] = {'^', (char)(c ^ 0x40)};

	if (c == '\n' && settings.local & (ECHO | ECHONL))
		echo_text("\n", 1);
	else if (!(settings.local & ECHO))
		return;
	else if ((c < ' ' && c != '\t') || c == 127)
		settings.local &ECHOCTL ? echo_text(text, 2) : (void)0;
	else
		echo_text((const char *)&c, 1);
}

static int64_t tty_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	char piece[256];
	int64_t done = 0;

	while (io->left) {
		size_t n = (size_t)MIN(io->left, sizeof(piece));
		int error = stream_io_in(io, piece, n);

		if (error)
			return done ? done : error;
		kprintf_emit(piece, n);
		done += (int64_t)n;
	}
	return done;
}

// ---- input; lock held ----

static void erase_one(void)
{
	uint8_t c;

	if (typed == ready)
		return;
	do { // a whole UTF-8 character
		c = *at(--typed);
	} while (typed != ready && (c & 0xc0) == 0x80);
	if ((settings.local & (ECHO | ECHOE)) == (ECHO | ECHOE))
		c < ' ' && c != '\t' ? echo_text("\b \b\b \b", 6) : echo_text("\b \b", 3);
}

static void erase_word(void)
{
	while (typed != ready && *at(typed - 1) == ' ')
		erase_one();
	while (typed != ready && *at(typed - 1) != ' ')
		erase_one();
}

static void put(uint8_t c)
{
	if (typed - taken < INPUT_BYTES)
		*at(typed++) = c;
}

// True: the key was for editing the line.
static bool edit(uint8_t c)
{
	const uint8_t *cc = settings.cc;

	if (c == cc[VERASE] || c == '\b') {
		erase_one();
	} else if (c == cc[VKILL]) {
		while (typed != ready)
			erase_one();
	} else if (c == cc[VWERASE] && settings.local & IEXTEN) {
		erase_word();
	} else if (c == cc[VEOF]) {
		end_typed |= typed == ready;
		ready = typed;
	} else {
		return false;
	}
	return true;
}

static int signal_of(uint8_t c)
{
	if (!(settings.local & ISIG))
		return 0;
	return c == settings.cc[VINTR]	 ? SIGINT
	       : c == settings.cc[VQUIT] ? SIGQUIT
	       : c == settings.cc[VSUSP] ? SIGTSTP
					 : 0;
}

static int take_key(uint8_t c)
{
	int signal = signal_of(c);

	if (signal) {
		echo(c);
		if (!(settings.local & NOFLSH))
			taken = ready = typed;
		return signal;
	}
	if (c == '\r' && settings.input & IGNCR)
		return 0;
	if (c == '\r' && settings.input & ICRNL)
		c = '\n';
	else if (c == '\n' && settings.input & INLCR)
		c = '\r';
	if (settings.local & ICANON && edit(c))
		return 0;
	echo(c);
	put(c);
	if (!(settings.local & ICANON) || c == '\n' || (c && c == settings.cc[VEOL]))
		ready = typed;
	return 0;
}

void tty_key(uint8_t byte)
{
	int signal, group;

	spin_lock_wtd(&lock);
	signal = take_key(byte);
	group = foreground;
	spin_unlock_wtd(&lock);
	if (signal && group)
		signal_group(group, signal, NULL);
	notify_all();
}

// A process that is not in the foreground may not take the keys: it is stopped, or gets an error if it cannot be.
static int check_foreground(void)
{
	const struct process *p = process_current();
	const struct task *t = task_current();
	bool deaf =
	    t->blocked & SIGNAL_BIT(SIGTTIN) || p->actions->action[SIGTTIN - 1].handler == SIG_IGN;

	if (p->session != session)
		return -EIO;
	if (p->group == foreground)
		return 0;
	if (deaf)
		return -EIO;
	signal_group(p->group, SIGTTIN, NULL);
	return -ERESTART;
}

static int64_t tty_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	uint8_t piece[256];
	uint32_t n = 0, most;
	int error = check_foreground();

	if (error)
		return error;
	spin_lock_wtd(&lock);
	most = (uint32_t)MIN(MIN(io->left, sizeof(piece)), (uint64_t)(ready - taken));
	while (n < most) {
		piece[n] = *at(taken++);
		if (piece[n++] == '\n' && settings.local & ICANON)
			break; // one line a read
	}
	error = n ? 0 : end_typed ? 0 : -EAGAIN;
	if (!n)
		end_typed = false;
	if (!n && !(settings.local & ICANON) && !settings.cc[VMIN])
		error = 0; // polling read
	spin_unlock_wtd(&lock);
	if (n)
		error = stream_io_out(io, piece, n);
	return error ? error : (int64_t)n;
}

static unsigned tty_poll(struct stream *s)
{
	return STREAM_OUT | (ready != taken || end_typed ? STREAM_IN : 0);
}

// ---- settings ----

static int64_t set(uintptr_t argument, bool flush)
{
	struct termios fresh;

	if (user_get(&fresh, argument))
		return -EFAULT;
	spin_lock_wtd(&lock);
	settings = fresh;
	if (flush)
		taken = typed;
	if (flush || !(fresh.local & ICANON))
		ready = typed;
	spin_unlock_wtd(&lock);
	return 0;
}

static int set_foreground(uintptr_t argument)
{
	int group;

	if (user_get(&group, argument))
		return -EFAULT;
	if (process_current()->session != session)
		return -ENOTTY;
	if (group <= 0)
		return -EINVAL;
	foreground = group;
	return 0;
}

static int tty_ioctl(struct stream *s, unsigned request, uintptr_t argument)
{
	int number = (int)(ready - taken);

	switch (request) {
	case TCGETS:
		return user_put(argument, &settings);
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		return (int)set(argument, request == TCSETSF);
	case TCFLSH:
		spin_lock_wtd(&lock);
		taken = ready = typed;
		spin_unlock_wtd(&lock);
		return 0;
	case TIOCGPGRP:
		return process_current()->session == session ? user_put(argument, &foreground)
							     : -ENOTTY;
	case TIOCSPGRP:
		return set_foreground(argument);
	case TIOCGSID:
		return user_put(argument, &session);
	case TIOCSCTTY:
		if (session && session != process_current()->session)
			return -EPERM;
		tty_give(process_current()->session, process_current()->group);
		return 0;
	case TIOCNOTTY:
		return 0;
	case TIOCGWINSZ:
		return user_put(argument, &window);
	case TIOCSWINSZ:
		return user_get(&window, argument);
	case FIONREAD:
		return user_put(argument, &number);
	default:
		return -ENOTTY;
	}
}

// ---- life ----

static void tty_close(struct stream *s)
{
	struct tty *t = CONTAINER_OF(s, struct tty, stream);

	spin_lock_wtd(&lock);
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	spin_unlock_wtd(&lock);
	pool_free(&tty_pool, t);
}

static const struct stream_ops tty_ops = {.kind = STREAM_TERMINAL,
					  .read = tty_read,
					  .write = tty_write,
					  .poll = tty_poll,
					  .ioctl = tty_ioctl,
					  .close = tty_close};

struct stream *tty_open(unsigned flags)
{
	struct tty *t = pool_alloc(&tty_pool);

	if (!t)
		return NULL;
	stream_init(&t->stream, &tty_ops, flags);
	spin_lock_wtd(&lock);
	t->next = terminals;
	t->link = &terminals;
	if (t->next)
		t->next->link = &t->next;
	terminals = t;
	spin_unlock_wtd(&lock);
	return &t->stream;
}

void tty_give(int new_session, int group)
{
	spin_lock_wtd(&lock);
	session = new_session;
	foreground = group;
	if (!new_session) { // as the next one finds it
		taken = ready = typed;
		end_typed = false;
	}
	spin_unlock_wtd(&lock);
	if (!new_session)
		tty_init();
}
