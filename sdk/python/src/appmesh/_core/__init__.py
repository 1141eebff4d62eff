"""What the blocking and the asyncio clients share. Nothing in here does any input or output."""
