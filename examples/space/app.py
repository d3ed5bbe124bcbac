"""The page of `imap demo` as a Space of Hugging Face: words and a prompt or a clip in, maps out."""

import imap.demo

page = imap.demo.page()  # takes the settings of `imap demo`, such as "backbone=shapes_cogvideox"

if __name__ == "__main__":
    page.launch()
