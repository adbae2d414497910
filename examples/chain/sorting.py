"""The first fleet's agent: says what a ticket is about. Rules stand in for a model's judgement."""

from pydantic import BaseModel

from kafleet import Agent

QUESTIONS = {"billing": ("invoice", "refund", "charge"), "outage": ("down", "error", "timeout")}

agent = Agent()


class Ticket(BaseModel):
    text: str


class SortedTicket(BaseModel):
    text: str
    topic: str


@agent.task
async def sort(ticket: Ticket) -> SortedTicket:
    return SortedTicket(text=ticket.text, topic=topic_of(ticket.text))


def topic_of(text: str) -> str:
    words = text.lower()
    found = (topic for topic, signs in QUESTIONS.items() if any(sign in words for sign in signs))
    return next(found, "other")
