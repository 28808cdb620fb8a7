"""The public conformance suite of kernels, `jupyter_kernel_test`, with what a Python kernel is to be asked."""

from __future__ import annotations

from typing import Any

import jupyter_kernel_test

# The suite waits 0.1 s for the next message, which is for machines that do nothing else.
PATIENCE_SECONDS = 30.0


class PythonKernel(jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    """The suite, for a manager and a client that `begin` makes."""

    __test__ = False
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('oh', file=sys.stderr)"
    completion_samples = [  # noqa: RUF012 - as the suite declares it
        {"text": "zi", "matches": {"zip"}},
    ]
    complete_code_samples = ["1", "print('hello')", "def f(x):\n  return x*2\n\n\n"]  # noqa: RUF012
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2"]  # noqa: RUF012
    invalid_code_samples = ["import = 7q"]  # noqa: RUF012
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('no')"
    code_execute_result = [  # noqa: RUF012
        {"code": "1 + 2 + 3", "result": "6"},
        {"code": "[n * n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data = [  # noqa: RUF012
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('x^2'))", "mime": "text/latex"},
    ]
    code_history_pattern = "1 + *"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    @classmethod
    def begin(cls) -> tuple[Any, Any]:
        """Return a manager whose kernel runs, and a client that has heard it."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        """Start the kernel, as the suite does; and let it take its time."""
        cls.km, cls.kc = cls.begin()
        get_msg, cls.is_patient = cls.kc.iopub_channel.get_msg, True

        def patient(timeout: float | None = None) -> Any:
            return get_msg(timeout=PATIENCE_SECONDS if cls.is_patient else timeout)

        cls.kc.iopub_channel.get_msg = patient

    def flush_channels(self) -> None:
        """Take what is left of earlier questions; once the kernel has answered another one, nothing is to come."""
        asked = self.kc.kernel_info()
        while self._next(self.kc.shell_channel)["parent_header"].get("msg_id") != asked:
            pass
        while (message := self._next(self.kc.iopub_channel))["content"].get("execution_state") != "idle" or (
            message["parent_header"].get("msg_id") != asked
        ):
            pass
        type(self).is_patient = False
        super().flush_channels()
        type(self).is_patient = True

    @staticmethod
    def _next(channel: Any) -> Any:
        message = channel.get_msg(timeout=PATIENCE_SECONDS)
        jupyter_kernel_test.validate_message(message)
        return message

    def history_helper(self, execute_first: Any, timeout: float | None = None, **asked: Any) -> dict[str, Any]:
        """Ask for history. In a range IPython calls the present session 0, in plain kernels too; the suite does not."""
        reply: dict[str, Any] = super().history_helper(execute_first, timeout or PATIENCE_SECONDS, **asked)
        if asked["hist_access_type"] == "range":
            rows = reply["content"]["history"]
            reply["content"]["history"] = [[session or asked["session"], *row] for session, *row in rows]
        return reply

    def printed_by(self, code: str) -> str:
        """Return what a cell prints."""
        self.flush_channels()
        _, messages = self.execute_helper(code, timeout=120)
        return "".join(one["content"]["text"] for one in messages if one["msg_type"] == "stream")
