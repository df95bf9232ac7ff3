"""The run's own messages are kept, and the host program's logging is left alone."""

import logging
import threading

from multivisit.run.logs import layer_messages, run_log


def test_messages_are_kept_with_their_layer():
    logger = logging.getLogger("multivisit.somewhere")
    with run_log(logging.INFO) as log:
        logger.info("common")
        with layer_messages("layer-a"):
            logger.info("about a")
        with layer_messages("layer-b"):
            logger.warning("about b")
        logger.debug("too fine")
    assert [owner for owner, _ in log.entries] == [None, "layer-a", "layer-b"]
    assert "about a" in log.text("layer-a")
    assert "common" in log.text("layer-a")
    assert "about b" not in log.text("layer-a")
    assert "about b" in log.text()
    assert "too fine" not in log.text()


def test_the_logger_is_put_back_even_after_an_error():
    logger = logging.getLogger("multivisit")
    before = (logger.level, logger.propagate, list(logger.handlers))
    try:
        with run_log(logging.DEBUG):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_host_handlers_see_only_what_they_saw_before():
    seen: list[str] = []

    class Host(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    host = Host()
    root = logging.getLogger()
    root.addHandler(host)
    try:
        with run_log(logging.DEBUG):
            logging.getLogger("multivisit.a").info("below the host's level")
            logging.getLogger("multivisit.a").warning("for the host")
    finally:
        root.removeHandler(host)
    assert seen == ["for the host"]


def test_two_runs_at_once_keep_their_own_messages():
    logger = logging.getLogger("multivisit.b")
    before = (logging.getLogger("multivisit").level, logging.getLogger("multivisit").propagate)
    first_in, second_in = threading.Event(), threading.Event()
    texts: dict[str, str] = {}

    def first():
        with run_log() as log:
            first_in.set()
            assert second_in.wait(10)
            logger.info("from the first")
        texts["first"] = log.text()

    def second():
        assert first_in.wait(10)
        with run_log() as log:
            second_in.set()
            thread_one.join(10)
            logger.info("from the second")
        texts["second"] = log.text()

    thread_one, thread_two = threading.Thread(target=first), threading.Thread(target=second)
    thread_one.start()
    thread_two.start()
    thread_two.join(10)
    assert "from the first" in texts["first"]
    assert "from the second" not in texts["first"]
    assert "from the first" not in texts["second"]
    assert (logging.getLogger("multivisit").level, logging.getLogger("multivisit").propagate) == before
