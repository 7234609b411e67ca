# SPDX-License-Identifier: BSD-2-Clause
# Linking and the ISO.
$(B)/pagewire.elf: linker.ld $(OBJS) $(LWIP_OBJS)
	$(LD) -n -T linker.ld -z noexecstack -z max-page-size=4096 --fatal-warnings --no-warn-rwx-segments -o $@ $(OBJS) $(LWIP_OBJS)
