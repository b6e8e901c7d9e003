"""The program itself: how it is started, fed and measured."""
