"""The second fleet's agent: drafts an answer to a sorted ticket. It knows the record, not who wrote it."""

from pydantic import BaseModel

from kafleet import Agent

DRAFTS = {
    "billing": "We look into your invoice and answer today.",
    "outage": "We see the failure too and work on it.",
}

agent = Agent()


class SortedTicket(BaseModel):
    text: str
    topic: str


class Draft(BaseModel):
    topic: str
    answer: str


@agent.task
async def answer(ticket: SortedTicket) -> Draft | None:
    """Return a draft; a ticket about anything else is left to people, with nothing written."""
    if ticket.topic not in DRAFTS:
        return None
    return Draft(topic=ticket.topic, answer=DRAFTS[ticket.topic])
