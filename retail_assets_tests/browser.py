"""Debian's chromium without a window, for tests of the UI and for the screenshots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
IS_THERE = bool(CHROMIUM and DRIVER)
MISSING = "chromium and chromium-driver are not installed (Debian: apt-get install chromium chromium-driver)"
_SECONDS = 60


@contextmanager
def browser(width: int = 1600, height: int = 1000) -> Iterator[WebDriver]:
    """A browser in light mode that talks to the loopback alone."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", f"--window-size={width},{height}", "--hide-scrollbars", "--disable-dev-shm-usage", "--proxy-server=direct://"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def text_of(driver: WebDriver) -> str:
    """What the page shows."""
    return driver.find_element(By.TAG_NAME, "body").text


def wait_for_text(driver: WebDriver, *texts: str) -> None:
    """Return once the page shows all the texts.

    Raises:
        selenium.common.exceptions.TimeoutException: It does not; the message holds what it shows instead.
    """

    def are_there(found: WebDriver) -> bool:
        shown = text_of(found)
        return all(text in shown for text in texts)

    WebDriverWait(driver, _SECONDS, ignored_exceptions=[Exception]).until(are_there, f"{texts} not in {text_of(driver)[:2_000]}")
