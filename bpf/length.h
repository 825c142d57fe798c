/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers as the verifier wants them. */
#ifndef XDPLB_LENGTH_H
#define XDPLB_LENGTH_H

/* The verifier of 6.1 takes a byte swap's result for any 64-bit number, and the compiler drops a mask that it
 * knows to be idle: hence the instruction by name. To go when 6.1 does.
 */
static __always_inline __u64 host_length(__be16 length)
{
	__u64 swapped = bpf_ntohs(length);

	asm volatile("%0 &= 0xffff" : "+r"(swapped));
	return swapped;
}

/* Has the verifier forget what it knows of a number, by way of another that may be any: so ways that differ only in
 * that become one, and what follows is walked once.
 */
static __always_inline __u64 forget(__u64 number, __u64 any)
{
	number ^= any;
	asm volatile("" : "+r"(number));
	return number ^ any;
}

#endif
