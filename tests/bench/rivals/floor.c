/*
 * The floor: what one process per client costs when the server does nothing
 * else. Accept, fork, receive, send, exit; no libc, no cipher, no line rule, no
 * error handling, and SIGCHLD ignored so that the kernel reaps.
 *
 *     floor PORT
 *
 * -DONCE makes the child leave after its first reply instead of waiting for the
 * client to close, which saves one call and one wake-up per connection.
 */
#if !defined(__x86_64__)
#error "the floor is written for x86_64"
#endif

enum { READ_SIZE = 4097, AF_INET = 2, SOCK_STREAM = 1, SIGCHLD = 17, SIG_IGN = 1 };
enum { SYS_close = 3, SYS_rt_sigaction = 13, SYS_socket = 41, SYS_accept = 43,
       SYS_sendto = 44, SYS_recvfrom = 45, SYS_bind = 49, SYS_listen = 50,
       SYS_fork = 57, SYS_exit = 60 };

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	register long r9 __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}

static void serve(int client)
{
	char buffer[READ_SIZE];
	long count;

	while ((count = call(SYS_recvfrom, client, (long)buffer, sizeof buffer, 0)) > 0) {
		call(SYS_sendto, client, (long)buffer, count, 0);
#ifdef ONCE
		break;
#endif
	}
}

static void run(const char *port_text)
{
	struct { unsigned long handler, flags, restorer, mask; } ignore = { .handler = SIG_IGN };
	struct { unsigned short family, port; unsigned host, zero[2]; } address = { .family = AF_INET };
	unsigned port = 0;

	while (*port_text)
		port = port * 10 + (*port_text++ - '0');
	address.port = __builtin_bswap16(port);
	address.host = __builtin_bswap32(0x7f000001);

	call(SYS_rt_sigaction, SIGCHLD, (long)&ignore, 0, 8);
	int listener = call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0);
	call(SYS_bind, listener, (long)&address, sizeof address, 0);
	call(SYS_listen, listener, 65535, 0, 0);

	for (;;) {
		int client = call(SYS_accept, listener, 0, 0, 0);
		if (call(SYS_fork, 0, 0, 0, 0) == 0) {
			serve(client);
			call(SYS_exit, 0, 0, 0, 0);
		}
		call(SYS_close, client, 0, 0, 0);
	}
}

__attribute__((used)) static void start(char **stack)
{
	run(stack[2]);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tcall start\n");
