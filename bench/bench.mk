# SPDX-License-Identifier: BSD-2-Clause
# The floor (bench/floor) is a machine of its own: one C file, one way in, its own link.
FLOOR_FLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only \
               -fno-stack-protector -fno-asynchronous-unwind-tables -mcmodel=small
$(B)/floor.elf: bench/floor/floor.c bench/floor/entry.asm bench/floor/floor.ld
	@mkdir -p $(B)/bench
	$(CC) $(FLOOR_FLAGS) -c -o $(B)/bench/floor.o bench/floor/floor.c
	$(NASM) -f elf64 -o $(B)/bench/floor-entry.o bench/floor/entry.asm
	$(LD) -n -z noexecstack --no-warn-rwx-segments -T bench/floor/floor.ld -o $@ $(B)/bench/floor-entry.o $(B)/bench/floor.o

# The counting plugin for QEMU runs on the host.
$(B)/libcount.so: bench/count/count.c
	@mkdir -p $(B)
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden -o $@ $< -lpthread

# The path of the distant and lossy rows, on the host, too.
$(B)/relay: bench/relay/relay.c
	@mkdir -p $(B)
	gcc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -o $@ $<

.PHONY: bench soak uploads recv-latency lossy
bench:
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/floor.elf $(B)/libcount.so $(B)/relay
	@$(if $(BENCH),,bench/uploads.py $(or $(UPLOADS),--rounds 1) || echo "bench: uploads failed; the rest goes on" >&2)
	@$(if $(BENCH),,bench/recv_latency.py $(RECV) || echo "bench: recv_latency failed; the rest goes on" >&2)
	@bench/bench.py $(BENCH)

soak:
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/libcount.so
	@bench/soak.py $(SOAK)

lossy:
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/relay
	@bench/lossy.py $(LOSSY)

uploads:
	@tools/deps bench
	@$(MAKE) --no-print-directory all
	@bench/uploads.py $(UPLOADS)

recv-latency:
	@tools/deps bench
	@$(MAKE) --no-print-directory all $(B)/libcount.so
	@bench/recv_latency.py $(RECV)
